// The main flow of the README by @grpc/grpc-js, with codes of oathtool and a QR code read by zbarimg.
//
// Usage: node main_flow.js ADDRESS PROTOS MAIL_URL QR_PROGRAM
// MAIL_URL is the read side of the mail catcher; QR_PROGRAM draws its second argument as a PNG into its first.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [address, protos, mailUrl, qrProgram] = process.argv.slice(2);
const definition = loadSync("authsvc/v1/auth_service.proto", { includeDirs: [protos], enums: String, longs: Number });
const { AuthService } = grpc.loadPackageDefinition(definition).authsvc.v1;
const client = new AuthService(address, grpc.credentials.createInsecure());
const STEP_SECONDS = 30;

function call(method, request, accessToken) {
  const metadata = new grpc.Metadata();
  if (accessToken) metadata.set("authorization", `Bearer ${accessToken}`);
  return promisify(client[method].bind(client))(request, metadata);
}

async function codeFor(recipient) {
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await fetch(`${mailUrl}/messages?to=${encodeURIComponent(recipient)}`);
    const mails = await answer.json();
    const code = mails.at(-1)?.text.match(/\b[0-9]{6,8}\b/)?.[0];
    if (code) return code;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no mail for ${recipient}`);
}

function scanned(uri) {
  const picture = join(mkdtempSync(join(tmpdir(), "authsvc-qr-")), "qr.png");
  execFileSync(qrProgram, [picture, uri]);
  return execFileSync("zbarimg", ["--quiet", "--raw", picture], { encoding: "utf8" }).trim();
}

const oathtool = (secret) => execFileSync("oathtool", ["--totp", "--base32", secret], { encoding: "utf8" }).trim();
const timeStep = () => Math.floor(Date.now() / 1000 / STEP_SECONDS);

const username = `grace-${process.pid}`;
const email = `${username}@example.com`;
const password = "copper-lantern-77";

const signedUp = await call("signUp", { username, password, attributes: { email } });
assert.equal(signedUp.nextStep.step, "SIGN_UP_STEP_CONFIRM_SIGN_UP");
await call("confirmSignUp", { username, confirmationCode: await codeFor(email) });

const setUp = await call("signIn", { username, password });
assert.equal(setUp.nextStep.step, "SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP");
const { setupUri, sharedSecret } = setUp.nextStep.totpSetup;
const uri = new URL(scanned(setupUri));
assert.equal(uri.href, new URL(setupUri).href);
assert.equal(uri.searchParams.get("secret"), sharedSecret);
const secret = uri.searchParams.get("secret");

const done = await call("confirmSignIn", { session: setUp.session, totpCode: oathtool(secret) });
const usedStep = timeStep();
assert.equal(done.isSignedIn, true);
const seen = await call("fetchAuthSession", {}, done.tokens.accessToken);
assert.equal(seen.userId, signedUp.userId);
assert.deepEqual(seen.amr, ["pwd", "otp", "mfa"]);

await call("signOut", {}, done.tokens.accessToken);
const gone = await call("fetchAuthSession", {}, done.tokens.accessToken);
assert.equal(gone.isSignedIn ?? false, false);

const again = await call("signIn", { username, password });
assert.equal(again.nextStep.step, "SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE");
await assert.rejects(call("confirmSignIn", { session: again.session, totpCode: "000000" }), (error) => {
  assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
  assert.match(error.metadata.get("grpc-status-details-bin")[0].toString("latin1"), /CODE_MISMATCH/);
  return true;
});
// A code is accepted once: wait for the next one, as a user would.
while (timeStep() === usedStep) await new Promise((resolve) => setTimeout(resolve, 200));
// oathtool reads a clock of whole seconds, which lags by some milliseconds.
await new Promise((resolve) => setTimeout(resolve, 1000));
const final = await call("confirmSignIn", { session: again.session, totpCode: oathtool(secret) });
assert.equal(final.isSignedIn, true);

console.log(JSON.stringify({ username, userId: signedUp.userId, amr: seen.amr }));
client.close();
