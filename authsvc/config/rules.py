"""Settings of the rules: accounts, passwords, codes, sign-ins, tokens, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from authsvc.config.types import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    CustomAttributes,
    Duration,
    MfaMode,
    MfaTypes,
    Names,
    OptionalPath,
    Section,
    UsernameScripts,
    field,
)
from authsvc.domain import SECOND_FACTORS, FactorKind

_CUSTOM_NAME = re.compile(r"custom:[A-Za-z0-9_.-]{1,64}")


class AccountsSettings(Section):
    """Accounts and second factors."""

    confirm_sign_up: bool = field(True, "Whether a code by mail must confirm a new account.")
    sign_in_by_email: bool = field(
        False, "Whether a verified e-mail address serves in place of the username, and usernames may be such."
    )
    username_scripts: UsernameScripts = field(
        UsernameScripts.HIGHLY_RESTRICTIVE,
        "Letters of usernames that people choose (UTS 39): `ASCII_ONLY`, `HIGHLY_RESTRICTIVE` (one script, told from "
        "Latin) or `UNRESTRICTED`.",
    )
    prevent_user_existence_errors: bool = field(True, "Whether SignIn hides that a name does not exist.")
    unconfirmed_purge: Duration = field(
        7 * DAY, "Age at which an unconfirmed account is removed.", ge=DAY, le=365 * DAY
    )
    mfa: MfaMode = field(MfaMode.REQUIRED, "`OFF`, `OPTIONAL` (asked of those who enrolled) or `REQUIRED`.")
    mfa_types: MfaTypes = field(
        (FactorKind.TOTP,),
        f"Second factors that may be used: {', '.join(f'`{kind}`' for kind in SECOND_FACTORS)}; comma-separated.",
        min_length=1,
    )
    required_attributes: Names = field(
        (), "Attributes that every account must have; comma-separated. `email` is needed where sign-up is confirmed."
    )
    temporary_password_ttl: Duration = field(
        7 * DAY, "Life of the temporary password of an account that an operator made.", ge=HOUR, le=365 * DAY
    )
    totp_issuer: str = field(
        "authsvc", "Name shown in authenticator apps.", min_length=1, max_length=64, pattern=r"^[^:]+$"
    )
    totp_device_limit: int = field(5, "Most active authenticators of one account.", ge=1, le=20)
    import_short_totp_secrets: bool = field(
        False, "Whether imports may bring secrets of authenticators of 80 to 127 bits, which RFC 4226 holds too short."
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield by what nobody could sign in, or could who should not."""
        if self.mfa is MfaMode.REQUIRED and set(self.mfa_types) == {FactorKind.EMAIL}:
            yield (
                "accounts.mfa_types has EMAIL alone: where MFA is REQUIRED there must be another, since passwords are "
                "recovered by e-mail too"
            )
        if self.sign_in_by_email and not self.confirm_sign_up:
            yield (
                "accounts.sign_in_by_email needs accounts.confirm_sign_up: an address that was never verified signs "
                "nobody in"
            )


class PasswordsSettings(Section):
    """Password policy (NIST SP 800-63B §3.1.1) and hashing (OWASP Password Storage)."""

    min_length_with_mfa: int = field(8, "Fewest characters where MFA is required.", ge=8, le=128)
    min_length: int = field(15, "Fewest characters elsewhere.", ge=8, le=128)
    max_length: int = field(256, "Most characters.", ge=64, le=1024)
    blocklist_file: OptionalPath = field(None, "Further refused passwords, one a line, beside the built-in list.")
    require_lowercase: bool = field(False, "Whether a lower-case letter is needed.")
    require_uppercase: bool = field(False, "Whether an upper-case letter is needed.")
    require_numbers: bool = field(False, "Whether a digit is needed.")
    require_symbols: bool = field(False, "Whether a character that is neither letter nor digit is needed.")
    argon2_time_cost: int = field(2, "Argon2id passes.", ge=1, le=32)
    argon2_memory_kib: int = field(19_456, "Argon2id memory of one hash, KiB.", ge=8, le=1_048_576)
    argon2_parallelism: int = field(1, "Argon2id lanes.", ge=1, le=16)
    hash_threads: int = field(0, "Hashes at once in one worker process; 0 means one for each core.", ge=0, le=256)
    hash_queue: int = field(64, "Hashes that may wait in one worker process; one more is OVERLOADED.", ge=1, le=10_000)

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the lengths."""
        if self.max_length < max(self.min_length, self.min_length_with_mfa):
            yield "passwords.max_length must not be below passwords.min_length and passwords.min_length_with_mfa"


class AttributesSettings(Section):
    """Attributes beside the standard ones of OpenID Connect."""

    custom: CustomAttributes = field(
        {},
        "Custom attributes by name, `custom:` included, each with `type` (`STRING`, `NUMBER`, `BOOLEAN` or "
        "`DATETIME`), `min` and `max` (characters, or the number) and `user_may_write`; JSON in the environment.",
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the names."""
        if not all(_CUSTOM_NAME.fullmatch(name) for name in self.custom):
            yield "attributes.custom: names are `custom:` and 1 to 64 letters, digits, `_`, `.` or `-`"


class CodesSettings(Section):
    """Codes sent by mail or SMS."""

    sign_up_ttl: Duration = field(DAY, "Life of a sign-up code.", ge=5 * MINUTE, le=30 * DAY)
    sign_up_digits: int = field(8, "Length of a sign-up code.", ge=6, le=10)
    reset_ttl: Duration = field(10 * MINUTE, "Life of a reset code.", ge=2 * MINUTE, le=DAY)
    reset_digits: int = field(8, "Length of a reset code.", ge=6, le=10)
    attribute_ttl: Duration = field(
        DAY, "Life of a code that verifies a new address or phone number.", ge=5 * MINUTE, le=7 * DAY
    )
    attribute_digits: int = field(
        8, "Length of such a code, and of a sign-in code to an address not verified yet.", ge=6, le=10
    )
    sign_in_digits: int = field(6, "Length of a sign-in code; it lives as long as its challenge session.", ge=6, le=10)
    sign_in_cooldown: Duration = field(
        30 * SECOND, "Wait before a sign-in code is sent again.", ge=SECOND, le=5 * MINUTE
    )
    sign_in_sends_per_hour: int = field(10, "The same for sign-in codes, over each medium.", ge=1, le=100)
    max_wrong: int = field(5, "Wrong tries that burn a code.", ge=1, le=20)
    sends_to_address_per_hour: int = field(
        10,
        "Codes sent in an hour to one address or phone number that is not verified, for all accounts "
        "together; more are not sent.",
        ge=1,
        le=1000,
    )
    wrong_at_address_per_day: int = field(
        100,
        "Wrong tries in a day at codes sent to one address or phone number that is not verified, for all accounts "
        "together; after that no code of it is right.",
        ge=20,
        le=10_000,
    )
    sends_per_hour: int = field(
        5,
        "Codes of one kind sent to one account in an hour for one source, or for one place that is known to it.",
        ge=1,
        le=100,
    )
    sends_to_strangers_per_hour: int = field(
        30, "Codes of one kind sent to one account in an hour for all sources unknown to it together.", ge=1, le=1000
    )


class ChallengesSettings(Section):
    """Half-done sign-ins."""

    ttl: Duration = field(3 * MINUTE, "Life of a challenge session.", ge=MINUTE, le=15 * MINUTE)
    setup_ttl: Duration = field(15 * MINUTE, "The same for set-up steps.", ge=3 * MINUTE, le=HOUR)
    max_wrong: int = field(5, "Wrong answers that kill a challenge session.", ge=1, le=20)
    reply_grace: Duration = field(
        30 * SECOND,
        "Time in which an answer that is given again, with the same `request_id`, gets the same reply.",
        ge=SECOND,
        le=5 * MINUTE,
    )


class TokensSettings(Section):
    """Tokens of signed-in users, and their sessions."""

    issuer: str = field("authsvc", "`iss` claim; best the URL of your service.", min_length=1, max_length=255)
    audience: str = field("authsvc", "`aud` claim.", min_length=1, max_length=255)
    algorithm: Literal["EdDSA", "ES256"] = field("EdDSA", "Signature of new signing keys: `EdDSA` or `ES256`.")
    access_ttl: Duration = field(15 * MINUTE, "Life of access and ID tokens.", ge=5 * MINUTE, le=DAY)
    refresh_ttl: Duration = field(30 * DAY, "Life of a session from its sign-in.", ge=HOUR, le=3650 * DAY)
    session_idle: Duration = field(
        timedelta(),
        "Time after which a session ends that was given no new tokens; 0 means none.",
        ge=timedelta(),
        le=3650 * DAY,
    )
    sessions_per_user: int = field(
        0,
        "Most live sessions of a user: a further sign-in ends those used longest ago; 0 means any number.",
        ge=0,
        le=10_000,
    )
    refresh_grace: Duration = field(
        30 * SECOND, "Time in which a repeated refresh gets the same successor.", ge=SECOND, le=5 * MINUTE
    )
    reauthentication_window: Duration = field(
        10 * MINUTE, "Oldest authentication for sensitive calls.", ge=MINUTE, le=DAY
    )
    signing_key_lead: Duration = field(
        10 * MINUTE, "Time between publishing a new signing key and its first use.", ge=MINUTE, le=DAY
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield by what sessions would end that are in use."""
        if self.session_idle and self.session_idle < self.access_ttl * 2:
            yield "tokens.session_idle must be at least twice tokens.access_ttl, or sessions end that are in use"


class LimitsSettings(Section):
    """Throttling, counted in Postgres."""

    lock_from: int = field(
        5, "Failure in a row that first locks a factor of an account, for 1 s, doubling.", ge=3, le=50
    )
    lock_max: Duration = field(15 * MINUTE, "Longest lock.", ge=30 * SECOND, le=DAY)
    close_at: int = field(100, "Failures in a row that close a factor until it is reset.", ge=10, le=1000)
    known_devices: int = field(
        10, "Devices of one account whose failures are counted apart; the least recently used go.", ge=1, le=100
    )
    known_sources: int = field(
        10, "Networks (IPv4 address, IPv6 /64) of one account whose failures are counted apart.", ge=1, le=100
    )
    known_device_ttl: Duration = field(
        90 * DAY, "How long a device is known after its last finished sign-in.", ge=DAY, le=400 * DAY
    )
    known_source_ttl: Duration = field(30 * DAY, "The same for a network.", ge=HOUR, le=400 * DAY)
    times_ipv4_24: int = field(
        10, "So many times the calls of one address may come from all of its IPv4 /24.", ge=1, le=256
    )
    times_ipv6_56: int = field(4, "So many times the calls of one IPv6 /64 may come from all of its /56.", ge=1, le=256)
    times_ipv6_48: int = field(16, "The same for its /48.", ge=1, le=1000)
    sign_up_per_source: int = field(60, "Sign-ups an hour from one address (IPv6: /64).", ge=1, le=1_000_000)
    sign_up_confirm_per_source: int = field(
        60, "Confirmations of sign-ups an hour from one address.", ge=1, le=1_000_000
    )
    sign_in_per_source: int = field(120, "Sign-ins a minute from one address.", ge=1, le=1_000_000)
    sign_in_confirm_per_source: int = field(
        120, "Answers to steps of sign-ins, and step-ups, a minute from one address.", ge=1, le=1_000_000
    )
    resend_per_source: int = field(30, "Resent codes an hour for one address.", ge=1, le=1_000_000)
    reset_per_source: int = field(30, "Password resets asked for an hour from one address.", ge=1, le=1_000_000)
    reset_confirm_per_source: int = field(
        60, "Confirmations of password resets an hour from one address.", ge=1, le=1_000_000
    )
    unnamed_client_factor: int = field(
        10,
        "How many times the limit of one address a trusted caller has that tells no client address, and so is a "
        "source itself.",
        ge=1,
        le=10_000,
    )
    sign_up_global: int = field(20_000, "Sign-ups an hour in all.", ge=1, le=100_000_000)
    sign_up_confirm_global: int = field(40_000, "Confirmations of sign-ups an hour in all.", ge=1, le=100_000_000)
    sign_in_global: int = field(
        60_000, "Sign-ins a minute in all; above it only those who are known to their account.", ge=1, le=100_000_000
    )
    sign_in_confirm_global: int = field(
        60_000,
        "Answers to live steps of sign-ins, and step-ups, a minute in all; above it the same.",
        ge=1,
        le=100_000_000,
    )
    resend_global: int = field(10_000, "Resent codes an hour in all; above it the same.", ge=1, le=100_000_000)
    reset_global: int = field(
        10_000, "Password resets asked for an hour in all; above it the same.", ge=1, le=100_000_000
    )
    reset_confirm_global: int = field(
        40_000, "Confirmations of password resets an hour in all; above it the same.", ge=1, le=100_000_000
    )
