"""What hangs together: the flows of one process, built of what was opened for it. Nobody else knows all of them."""

from __future__ import annotations

from authsvc.core.access.challenges import ChallengeSessions
from authsvc.core.access.gate import Gate
from authsvc.core.access.lanes import Lanes
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.attributes import AttributeRules
from authsvc.core.accounts.calls import SignedIn, Unauthenticated
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.login import Logins
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.accounts.password_policy import PasswordPolicy
from authsvc.core.accounts.password_reset import PasswordReset, ResetCodes
from authsvc.core.accounts.passwords import Passwords, PasswordUpdate
from authsvc.core.accounts.profile import Profile
from authsvc.core.accounts.reset_sessions import ResetSessions
from authsvc.core.accounts.sign_up import SignUp, SignUpRules
from authsvc.core.accounts.sign_up_codes import SignUpCodes
from authsvc.core.audit.events import AuditEvents
from authsvc.core.audit.trail import Audit
from authsvc.core.factors.authenticators import Authenticators
from authsvc.core.factors.custom import Custom
from authsvc.core.factors.custom_hook import CustomChallenge
from authsvc.core.factors.factor import Factors
from authsvc.core.factors.kinds import SENT
from authsvc.core.factors.preferences import Preferences
from authsvc.core.factors.recovery import RecoveryCode, RecoveryCodes
from authsvc.core.factors.rules import FactorRules
from authsvc.core.factors.sent_code import SentCode, SignInCodes
from authsvc.core.factors.totp import Totp
from authsvc.core.messages.codes import Codes
from authsvc.core.messages.notices import Notices
from authsvc.core.operators.accounts import AccountAdmin
from authsvc.core.operators.attributes import AttributeAdmin
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.exports import Exports
from authsvc.core.operators.groups import Groups
from authsvc.core.operators.identity import Operators
from authsvc.core.operators.imports import Imports
from authsvc.core.operators.mail_queue import MailQueue
from authsvc.core.operators.passwords import PasswordAdmin
from authsvc.core.operators.user_list import UserList
from authsvc.core.operators.user_records import RecordRules
from authsvc.core.sessions.bearers import Bearers
from authsvc.core.sessions.refresh import Refreshes
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sessions.user_sessions import UserSessions
from authsvc.core.sign_in.answers import Answers
from authsvc.core.sign_in.flow import SignIn, SignInSteps
from authsvc.core.sign_in.next_steps import NextSteps
from authsvc.core.sign_in.progression import Progression
from authsvc.core.sign_in.reauthentication import Reauthentication
from authsvc.core.sign_in.replies import Replies
from authsvc.ground import Ground
from authsvc.rpc.admin import AdminFlows
from authsvc.rpc.auth import Flows


class Composition:
    """Build the flows."""

    def __init__(self, *, ground: Ground) -> None:
        settings, database, ring, clock = ground.settings, ground.database, ground.ring, ground.clock
        self._ground = ground
        self.notices = notices = Notices(ring=ring, sends_sms=bool(settings.sms.webhook_url))
        self.audit = audit = Audit(database=database, ring=ring, clock=clock)
        self.events = AuditEvents(database=database, ring=ring, clock=clock)
        self.throttle = throttle = Throttle(
            database=ground.counters, ring=ring, settings=settings, clock=clock, on_refusal=ground.metrics.count_limit
        )
        self.lanes = lanes = Lanes(database=database, ring=ring, limits=settings.limits, clock=clock)
        self.codes = Codes(
            database=database, ring=ring, throttle=throttle, notices=notices, settings=settings.codes, clock=clock
        )
        self.policy = PasswordPolicy(settings=settings.passwords, mfa=settings.accounts.mfa)
        self.signing_keys = keys = SigningKeys(
            database=database, ring=ring, audit=audit, settings=settings.tokens, clock=clock
        )
        self.bearers = Bearers(database=database, signing_keys=self.signing_keys, settings=settings.tokens, clock=clock)
        self.sessions = Sessions(
            database=database, ring=ring, lanes=lanes, signing_keys=keys, settings=settings.tokens, clock=clock
        )
        self.user_sessions = UserSessions(
            database=database, ring=ring, audit=audit, settings=settings.tokens, clock=clock
        )
        self.signed_in = SignedIn(database=database, bearers=self.bearers, audit=audit, clock=clock)
        self.calls = Unauthenticated(database=database, throttle=throttle, audit=audit, clock=clock)
        self.changes = Changes(database=database, audit=audit, clock=clock)
        limits = settings.challenges
        self.challenges = ChallengeSessions(database=database, ring=ring, limits=limits, clock=clock)
        self.gate = Gate(
            database=database, throttle=throttle, notices=notices, hasher=ground.hasher, limits=limits, clock=clock
        )
        self.logins = Logins(database=database, policy=self.policy, by_email=settings.accounts.sign_in_by_email)
        self.attributes = AttributeRules.of(settings)
        self.factor_rules = FactorRules(settings=settings.accounts)
        self.passwords = Passwords(throttle=throttle, notices=notices)
        self.reset_sessions = ResetSessions(codes=self.codes, lanes=lanes)
        self.reset_codes = ResetCodes(
            codes=self.codes,
            sessions=self.reset_sessions,
            calls=self.calls,
            lanes=lanes,
            logins=self.logins,
            rules=self.factor_rules,
        )
        self.deletion = Deletion(throttle=throttle, codes=self.codes, signed_in=self.signed_in)
        self.totp = Totp(
            database=database,
            ring=ring,
            throttle=throttle,
            notices=notices,
            rules=self.factor_rules,
            settings=settings.accounts,
            clock=clock,
        )
        self.custom = self._custom()
        self.factors = self._factors()

    def auth_flows(self) -> Flows:
        """Build what AuthService calls."""
        ground = self._ground
        settings, database, ring = ground.settings, ground.database, ground.ring
        sign_up_codes = SignUpCodes(
            database=database,
            throttle=self.throttle,
            codes=self.codes,
            calls=self.calls,
            logins=self.logins,
            settings=settings.accounts,
        )
        confirmations = Confirmations(
            throttle=self.throttle, codes=self.codes, notices=self.notices, signed_in=self.signed_in, settings=settings
        )
        sign_in, sign_in_steps = self._sign_in()
        return Flows(
            sign_up=self._sign_up(sign_up_codes),
            sign_up_codes=sign_up_codes,
            sign_in=sign_in,
            sign_in_steps=sign_in_steps,
            authenticators=Authenticators(
                database=database,
                signed_in=self.signed_in,
                sessions=self.challenges,
                gate=self.gate,
                factor=self.totp,
                throttle=self.throttle,
                rules=self.factor_rules,
                notices=self.notices,
            ),
            recovery_codes=RecoveryCodes(
                ring=ring, throttle=self.throttle, signed_in=self.signed_in, notices=self.notices
            ),
            preferences=Preferences(
                database=database, signed_in=self.signed_in, rules=self.factor_rules, notices=self.notices
            ),
            reauthentication=self._reauthentication(),
            profile=Profile(signed_in=self.signed_in, confirmations=confirmations, settings=settings),
            confirmations=confirmations,
            deletion=self.deletion,
            bearers=self.bearers,
            refreshes=self._refreshes(),
            sessions=self.user_sessions,
            reset_codes=self.reset_codes,
            password_reset=self._password_reset(),
            password_update=PasswordUpdate(
                gate=self.gate,
                policy=self.policy,
                passwords=self.passwords,
                signed_in=self.signed_in,
                sessions=self.sessions,
            ),
            signing_keys=self.signing_keys,
            events=self.events,
        )

    def admin_flows(self) -> AdminFlows:
        """Build what AdminService calls."""
        ground = self._ground
        settings, database, ring, clock = ground.settings, ground.database, ground.ring, ground.clock
        # What an operator's other accounts must have, an imported one need not.
        of_rows = AttributeRules(custom=settings.attributes.custom)
        rules = RecordRules(hasher=ground.hasher, ring=ring, settings=settings.accounts, attributes=of_rows)
        attribute_rules = AttributeRules.of(settings)
        return AdminFlows(
            operators=Operators(
                database=database, ring=ring, audit=self.audit, identities=settings.admin.scopes(), clock=clock
            ),
            accounts=AccountAdmin(
                database=database,
                throttle=self.throttle,
                reset_codes=self.reset_codes,
                sessions=self.user_sessions,
                notices=self.notices,
                changes=self.changes,
                deletion=self.deletion,
            ),
            passwords=PasswordAdmin(
                database=database,
                hasher=ground.hasher,
                throttle=self.throttle,
                notices=self.notices,
                policy=self.policy,
                passwords=self.passwords,
                changes=self.changes,
                rules=attribute_rules,
                settings=settings.accounts,
            ),
            attributes=AttributeAdmin(
                codes=self.codes, notices=self.notices, changes=self.changes, rules=attribute_rules
            ),
            users=UserList(database=database, ring=ring),
            groups=Groups(database=database, ring=ring, changes=self.changes),
            mail=MailQueue(database=database, ring=ring, changes=self.changes),
            imports=Imports(database=database, rules=rules, audit=self.audit, clock=clock),
            exports=Exports(database=database, ring=ring, changes=self.changes),
            events=self.events,
        )

    def _custom(self) -> Custom | None:
        ground = self._ground
        if ground.hook is None:
            return None
        most = ground.settings.hooks.challenge_max_rounds
        challenge = CustomChallenge(hook=ground.hook, ring=ground.ring, max_rounds=most)
        return Custom(database=ground.database, throttle=self.throttle, challenge=challenge, clock=ground.clock)

    def _factors(self) -> Factors:
        ground, throttle, notices = self._ground, self.throttle, self.notices
        codes = SignInCodes(
            ring=ground.ring, throttle=throttle, notices=notices, settings=ground.settings, clock=ground.clock
        )
        sent = [
            SentCode(
                spec=spec,
                database=ground.database,
                codes=codes,
                throttle=throttle,
                notices=notices,
                rules=self.factor_rules,
            )
            for spec in SENT
        ]
        recovery = RecoveryCode(database=ground.database, ring=ground.ring, throttle=throttle, notices=notices)
        return Factors(factors=[self.totp, *sent, recovery, *([self.custom] if self.custom else [])])

    def _sign_up(self, codes: SignUpCodes) -> SignUp:
        ground = self._ground
        rules = SignUpRules(ring=ground.ring, logins=self.logins, policy=self.policy, settings=ground.settings)
        return SignUp(
            database=ground.database,
            hasher=ground.hasher,
            throttle=self.throttle,
            calls=self.calls,
            codes=codes,
            rules=rules,
            clock=ground.clock,
        )

    def _sign_in(self) -> tuple[SignIn, SignInSteps]:
        ground = self._ground
        new_passwords = NewPasswords(
            database=ground.database, gate=self.gate, policy=self.policy, notices=self.notices, rules=self.attributes
        )
        replies = Replies(
            database=ground.database,
            ring=ground.ring,
            sessions=self.sessions,
            settings=ground.settings,
            clock=ground.clock,
        )
        steps = NextSteps(
            challenge_sessions=self.challenges,
            sessions=self.sessions,
            audit=self.audit,
            factors=self.factors,
            rules=self.factor_rules,
            notices=self.notices,
            new_passwords=new_passwords,
            replies=replies,
        )
        progression = Progression(
            challenge_sessions=self.challenges, steps=steps, sessions=self.sessions, custom=self.custom
        )
        answers = Answers(gate=self.gate, factors=self.factors, rules=self.factor_rules, new_passwords=new_passwords)
        return SignIn(
            database=ground.database,
            throttle=self.throttle,
            gate=self.gate,
            lanes=self.lanes,
            logins=self.logins,
            audit=self.audit,
            progression=progression,
            settings=ground.settings.accounts,
        ), SignInSteps(
            throttle=self.throttle,
            challenge_sessions=self.challenges,
            answers=answers,
            factors=self.factors,
            audit=self.audit,
            progression=progression,
            replies=replies,
        )

    def _reauthentication(self) -> Reauthentication:
        return Reauthentication(
            throttle=self.throttle,
            gate=self.gate,
            policy=self.policy,
            factors=self.factors,
            signed_in=self.signed_in,
            sessions=self.sessions,
        )

    def _refreshes(self) -> Refreshes:
        ground = self._ground
        return Refreshes(
            database=ground.database,
            ring=ground.ring,
            sessions=self.sessions,
            notices=self.notices,
            audit=self.audit,
            settings=ground.settings.tokens,
            clock=ground.clock,
        )

    def _password_reset(self) -> PasswordReset:
        return PasswordReset(
            database=self._ground.database,
            hasher=self._ground.hasher,
            sessions=self.reset_sessions,
            policy=self.policy,
            passwords=self.passwords,
            calls=self.calls,
            lanes=self.lanes,
            logins=self.logins,
        )
