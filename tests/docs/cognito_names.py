"""What teams that come from Cognito may call: the names that docs/coming-from-cognito.md has to have, all of them."""

from __future__ import annotations

# The API `cognito-idp` of 2016-04-18, as botocore 1.44.8 has it.
OPERATIONS = """
    AddCustomAttributes AddUserPoolClientSecret AdminAddUserToGroup AdminConfirmSignUp AdminCreateUser
    AdminDeleteSoftwareToken AdminDeleteUser AdminDeleteUserAttributes AdminDisableProviderForUser AdminDisableUser
    AdminEnableUser AdminForgetDevice AdminGetDevice AdminGetUser AdminGetUserAuthFactors AdminInitiateAuth
    AdminLinkProviderForUser AdminListDevices AdminListGroupsForUser AdminListUserAuthEvents AdminListUserSessions
    AdminRemoveUserFromGroup AdminResetUserPassword AdminRespondToAuthChallenge AdminRevokeUserSession
    AdminSetUserMFAPreference AdminSetUserPassword AdminSetUserSettings AdminUpdateAuthEventFeedback
    AdminUpdateDeviceStatus AdminUpdateUserAttributes AdminUserGlobalSignOut AssociateSoftwareToken
    CancelPointInTimeRecovery ChangePassword CompleteWebAuthnRegistration ConfirmDevice ConfirmForgotPassword
    ConfirmSignUp CreateCIMDPolicy CreateGroup CreateIdentityProvider CreateManagedLoginBranding
    CreateResourceServer CreateTerms CreateUserImportJob CreateUserPool CreateUserPoolClient CreateUserPoolDomain
    CreateUserPoolReplica DeleteCIMDPolicy DeleteGroup DeleteIdentityProvider DeleteManagedLoginBranding
    DeleteResourceServer DeleteTerms DeleteUser DeleteUserAttributes DeleteUserPool DeleteUserPoolClient
    DeleteUserPoolClientSecret DeleteUserPoolDomain DeleteUserPoolReplica DeleteWebAuthnCredential
    DescribeCIMDPolicy DescribeIdentityProvider DescribeManagedLoginBranding DescribeManagedLoginBrandingByClient
    DescribePointInTimeRecovery DescribeResourceServer DescribeRiskConfiguration DescribeTerms DescribeTermsByClient
    DescribeUserImportJob DescribeUserPool DescribeUserPoolClient DescribeUserPoolDomain ForgetDevice ForgotPassword
    GetCSVHeader GetClientToken GetDerivedToken GetDevice GetGroup GetIdentityProviderByIdentifier
    GetLogDeliveryConfiguration GetProvisionedLimit GetSigningCertificate GetTokensFromRefreshToken
    GetUICustomization GetUser GetUserAttributeVerificationCode GetUserAuthFactors
    GetUserPoolClientSessionConfiguration GetUserPoolMfaConfig GetUserPoolSessionConfiguration GlobalSignOut
    InitiateAuth InitiatePointInTimeRecovery ListCIMDPolicies ListClientMetadataURLs ListDevices ListGroups
    ListIdentityProviders ListPointInTimeRecoveries ListResourceServers ListTagsForResource ListTerms
    ListUserImportJobs ListUserPoolClientSecrets ListUserPoolClients ListUserPoolReplicas ListUserPools
    ListUserSessions ListUsers ListUsersInGroup ListWebAuthnCredentials ResendConfirmationCode
    RespondToAuthChallenge RevokeToken RevokeUserSession SetLogDeliveryConfiguration SetRiskConfiguration
    SetUICustomization SetUserMFAPreference SetUserPoolClientSessionConfiguration SetUserPoolMfaConfig
    SetUserPoolSessionConfiguration SetUserSettings SignUp StartPointInTimeRecovery StartUserImportJob
    StartWebAuthnRegistration StopUserImportJob TagResource UntagResource UpdateAuthEventFeedback UpdateCIMDPolicy
    UpdateClientMetadataURLState UpdateDeviceStatus UpdateGroup UpdateIdentityProvider UpdateManagedLoginBranding
    UpdateProvisionedLimit UpdateResourceServer UpdateTerms UpdateUserAttributes UpdateUserPool UpdateUserPoolClient
    UpdateUserPoolDomain UpdateUserPoolReplica VerifySoftwareToken VerifyUserAttribute
"""

# The values of its ChallengeNameType.
CHALLENGES = """
    ADMIN_NO_SRP_AUTH CUSTOM_CHALLENGE DEVICE_PASSWORD_VERIFIER DEVICE_SRP_AUTH EMAIL_OTP MFA_SETUP
    NEW_PASSWORD_REQUIRED PASSWORD PASSWORD_SRP PASSWORD_VERIFIER SELECT_CHALLENGE SELECT_MFA_TYPE SMS_MFA SMS_OTP
    SOFTWARE_TOKEN_MFA WEB_AUTHN
"""

# The functions that @aws-amplify/auth 6.21 exports.
AMPLIFY_JS = """
    associateWebAuthnCredential autoSignIn confirmResetPassword confirmSignIn confirmSignUp confirmUserAttribute
    decodeJWT deleteUser deleteUserAttributes deleteWebAuthnCredential fetchAuthSession fetchDevices
    fetchMFAPreference fetchUserAttributes forgetDevice getCurrentUser listWebAuthnCredentials rememberDevice
    resendSignUpCode resetPassword sendUserAttributeVerificationCode setUpTOTP signIn signInWithRedirect signOut
    signUp updateMFAPreference updatePassword updateUserAttribute updateUserAttributes verifyTOTPSetup
"""

# The methods of Amplify.Auth 2.13 and of its plugin for Cognito.
AMPLIFY_FLUTTER = """
    autoSignIn clearFederationToIdentityPool confirmResetPassword confirmSignIn confirmSignUp confirmUserAttribute
    deleteUser federateToIdentityPool fetchAuthSession fetchCurrentDevice fetchDevices fetchMfaPreference
    fetchUserAttributes forgetDevice getCurrentUser rememberDevice resendSignUpCode resetPassword
    sendUserAttributeVerificationCode setUpTotp signIn signInWithWebUI signOut signUp updateMfaPreference
    updatePassword updateUserAttribute updateUserAttributes verifyTotpSetup
"""
