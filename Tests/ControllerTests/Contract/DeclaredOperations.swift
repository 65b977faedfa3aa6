/// What OpenZiti's two OpenAPI documents (openziti/edge-api, client and management, version 0.29) declare, as facts in
/// a notation of ours; `ContractNotation` reads it.
///
/// One operation a line: method, path, statuses, then `open` where strangers may, `paged` where limit, offset and
/// filter are taken, `?name=words` for a parameter of the query, `as=types` for media types other than JSON, and the
/// body: `!` required, `~` optional. Types: `s` text, `s(4..100)` of that many characters, `b` truth value, `i`
/// integer, `t` time, `o` any object, `a|b` one of the words, `[x]` list, `<x>` map, `{a:x b*:y}` members, those with
/// `*` required, `?` nullable, `ref` reference to an entity, `links`.
enum DeclaredOperations {
  static let client = """
    GET / 200 open
    GET /.well-known/est/cacerts 200 open
    POST /authenticate 200,400,401,429 open ?method*=password|cert|ext-jwt ~{configTypes:[s] envInfo:{arch:s(0..255) domain:s(0..253) hostname:s(0..253) os:s(0..255) osRelease:s(0..255) osVersion:s(0..255)} password:s(5..100) sdkInfo:{appId:s(0..255) appVersion:s(0..255) branch:s(0..255) revision:s(0..255) type:s(0..255) version:s(0..255)} username:s(4..100)}
    POST /authenticate/mfa 200,401,429 !{code*:s}
    GET /controllers 200,400,401,429 paged
    GET /current-api-session 200,401
    DELETE /current-api-session 200,401
    GET /current-api-session/certificates 200,400,401,429,503 paged
    POST /current-api-session/certificates 201,400,401,429,503 !{csr*:s}
    GET /current-api-session/certificates/{id} 200,401,404,429,503
    DELETE /current-api-session/certificates/{id} 200,400,401,429,503
    GET /current-api-session/service-updates 200,401,429,503
    POST /current-api-session/totp-token 200,401,404 !{code*:s}
    GET /current-identity 200,401
    GET /current-identity/authenticators 200,400,401 paged
    GET /current-identity/authenticators/{id} 200,401,404
    PUT /current-identity/authenticators/{id} 200,400,401,404 !{currentPassword*:s(5..100) password*:s(5..100) tags:o username*:s(4..100)}
    PATCH /current-identity/authenticators/{id} 200,400,401,404 !{currentPassword*:s(5..100) password:s(5..100) tags:o username:s(4..100)}
    POST /current-identity/authenticators/{id}/extend 200,401 !{clientCertCsr*:s}
    POST /current-identity/authenticators/{id}/extend-verify 200,401 !{clientCert*:s}
    GET /current-identity/edge-routers 200,401,429,503
    GET /current-identity/mfa 200,401,404
    POST /current-identity/mfa 201,401,409
    DELETE /current-identity/mfa 200,401,404
    GET /current-identity/mfa/qr-code 200,404
    GET /current-identity/mfa/recovery-codes 200,401,404 ~{code*:s}
    POST /current-identity/mfa/recovery-codes 200,401,404 !{code*:s}
    POST /current-identity/mfa/verify 200,401,404 !{code*:s}
    POST /enroll 200,400,404,409,410,429,503 as=application/pkcs7,application/json,application/x-pem-file,text/plain ~{certCsr:s clientCsr:s name:s password:s(5..100) serverCertCsr:s username:s(4..100)}
    POST /enroll/ca 200,400,404,429,503
    POST /enroll/challenge 200,400,429 !{keyId*:s nonce*:s}
    POST /enroll/erott 200,400,429,503 !{clientCsr:s serverCsr:s token:s}
    POST /enroll/extend/router 200,400,401,429 !{certCsr*:s serverCertCsr*:s}
    GET /enroll/jwks 200
    POST /enroll/ott 200,400,404,429,503 !{clientCsr:s token:s}
    POST /enroll/ottca 200,400,429,503 !{clientCsr:s token:s}
    POST /enroll/token 200,400,404,409,410,429,503 !{clientCsr:s}
    POST /enroll/updb 200,400,404,429,503 !{password:s(5..100) username:s(4..100)}
    GET /enumerated-capabilities 200 open
    GET /external-jwt-signers 200,400,401,429,503 paged
    GET /network-jwts 200,400,429
    POST /posture-response 201,400,401,429,503 !{id*:s typeId*:OS|PROCESS|DOMAIN|MAC|MFA|PROCESS_MULTI}
    POST /posture-response-bulk 200,400,401,429,503 ![{id*:s typeId*:OS|PROCESS|DOMAIN|MAC|MFA|PROCESS_MULTI}]
    GET /protocols 200,429,503 open
    GET /services 200,400,401,429,503 paged
    GET /services/{id} 200,401,404,429,503
    PUT /services/{id} 200,400,401,404,429,503 !{configs:[s] encryptionRequired:b maxIdleTimeMillis:i name*:s roleAttributes:[s] tags:o terminatorStrategy:s}
    PATCH /services/{id} 200,400,401,404,429,503 !{configs:[s] encryptionRequired:b maxIdleTimeMillis:i name:s roleAttributes:[s] tags:o terminatorStrategy:s}
    DELETE /services/{id} 200,400,401,404,409,429,503
    GET /services/{id}/edge-routers 200,400,401,404,429 paged
    GET /services/{id}/terminators 200,400,401,429,503 paged
    GET /sessions 200,400,401,429,503 paged
    POST /sessions 201,400,401,404,429,503 !{serviceId:s tags:o type:Dial|Bind|Invalid}
    GET /sessions/{id} 200,401,404
    DELETE /sessions/{id} 200,400,401,409,429,503
    GET /specs 200 open
    GET /specs/{id} 200 open
    GET /specs/{id}/spec 200 open
    GET /version 200 open
    """

  static let management = """
    GET / 200 open
    GET /.well-known/est/cacerts 200 open
    GET /api-sessions 200,400,401,429,503 paged
    GET /api-sessions/{id} 200,401,404,429,503
    DELETE /api-sessions/{id} 200,401,403,404,429,503
    GET /auth-policies 200,400,401,429,503 paged
    POST /auth-policies 201,400,401,429,503 !{name*:s primary*:{cert*:{allowExpiredCerts*:b allowed*:b} extJwt*:{allowed*:b allowedSigners*:[s]} updb*:{allowed*:b lockoutDurationMinutes*:i maxAttempts*:i minPasswordLength*:i requireMixedCase*:b requireNumberChar*:b requireSpecialChar*:b}} secondary*:{requireExtJwtSigner:s requireTotp*:b} tags:o}
    GET /auth-policies/{id} 200,401,404,429,503
    PUT /auth-policies/{id} 200,400,401,404,429,503 !{name*:s primary*:{cert*:{allowExpiredCerts*:b allowed*:b} extJwt*:{allowed*:b allowedSigners*:[s]} updb*:{allowed*:b lockoutDurationMinutes*:i maxAttempts*:i minPasswordLength*:i requireMixedCase*:b requireNumberChar*:b requireSpecialChar*:b}} secondary*:{requireExtJwtSigner:s requireTotp*:b} tags:o}
    PATCH /auth-policies/{id} 200,400,401,404,429,503 !{name:s primary:{cert:{allowExpiredCerts:b allowed:b} extJwt:{allowed:b allowedSigners:[s]} updb:{allowed:b lockoutDurationMinutes:i maxAttempts:i minPasswordLength:i requireMixedCase:b requireNumberChar:b requireSpecialChar:b}} secondary:{requireExtJwtSigner:s requireTotp:b} tags:o}
    DELETE /auth-policies/{id} 200,400,401,404,429,503
    POST /authenticate 200,400,401,429 open ?method*=password|cert|ext-jwt ~{configTypes:[s] envInfo:{arch:s(0..255) domain:s(0..253) hostname:s(0..253) os:s(0..255) osRelease:s(0..255) osVersion:s(0..255)} password:s(5..100) sdkInfo:{appId:s(0..255) appVersion:s(0..255) branch:s(0..255) revision:s(0..255) type:s(0..255) version:s(0..255)} username:s(4..100)}
    POST /authenticate/mfa 200,401,429 !{code*:s}
    GET /authenticators 200,400,401,429,503 paged
    POST /authenticators 201,400,401,429,503 !{certPem:s identityId*:s method*:s password:s tags:o username:s}
    GET /authenticators/{id} 200,401,404,429,503
    PUT /authenticators/{id} 200,400,401,404,429,503 !{password*:s(5..100) tags:o username*:s(4..100)}
    PATCH /authenticators/{id} 200,400,401,404,429,503 !{password:s(5..100) tags:o username:s(4..100)}
    DELETE /authenticators/{id} 200,400,401,404,429,503
    POST /authenticators/{id}/re-enroll 201,401,404,429,503 !{expiresAt*:t}
    POST /authenticators/{id}/request-extend 200,401,403,404,429,503 !{rollKeys:b}
    GET /cas 200,400,401,429,503 paged
    POST /cas 201,400,401,429,503 !{certPem*:s externalIdClaim:{index*:i location*:COMMON_NAME|SAN_URI|SAN_EMAIL matcher*:ALL|PREFIX|SUFFIX|SCHEME matcherCriteria*:s parser*:NONE|SPLIT parserCriteria*:s} identityNameFormat:s identityRoles*:[s] isAuthEnabled*:b isAutoCaEnrollmentEnabled*:b isOttCaEnrollmentEnabled*:b name*:s tags:o}
    GET /cas/{id} 200,401,404,429,503
    PUT /cas/{id} 200,400,401,404,429,503 !{externalIdClaim:{index*:i location*:COMMON_NAME|SAN_URI|SAN_EMAIL matcher*:ALL|PREFIX|SUFFIX|SCHEME matcherCriteria*:s parser*:NONE|SPLIT parserCriteria*:s} identityNameFormat*:s identityRoles*:[s] isAuthEnabled*:b isAutoCaEnrollmentEnabled*:b isOttCaEnrollmentEnabled*:b name*:s tags:o}
    PATCH /cas/{id} 200,400,401,404,429,503 !{externalIdClaim:{index:i location:COMMON_NAME|SAN_URI|SAN_EMAIL matcher:ALL|PREFIX|SUFFIX|SCHEME matcherCriteria:s parser:NONE|SPLIT parserCriteria:s} identityNameFormat:s identityRoles:[s] isAuthEnabled:b isAutoCaEnrollmentEnabled:b isOttCaEnrollmentEnabled:b name:s tags:o}
    DELETE /cas/{id} 200,400,401,404,429,503
    GET /cas/{id}/jwt 200,401,404,429,503
    POST /cas/{id}/verify 200,400,401,404,429,503 as=text/plain !s
    GET /config-types 200,400,401,429,503 paged
    POST /config-types 201,400,401,429,503 !{name*:s schema:o tags:o target:service|router}
    GET /config-types/{id} 200,401,404,429,503
    PUT /config-types/{id} 200,400,401,404,429,503 !{name*:s schema:o tags:o}
    PATCH /config-types/{id} 200,400,401,404,429,503 !{name:s schema:o tags:o}
    DELETE /config-types/{id} 200,400,401,404,409,429,503
    GET /config-types/{id}/configs 200,401,429,503
    GET /configs 200,400,401,429,503 paged
    POST /configs 201,400,401,429,503 !{configTypeId*:s data*:o name*:s tags:o}
    GET /configs/{id} 200,401,404,429,503
    PUT /configs/{id} 200,400,401,404,429,503 !{data*:o name*:s tags:o}
    PATCH /configs/{id} 200,400,401,404,429,503 !{data:o name:s tags:o}
    DELETE /configs/{id} 200,400,401,404,409,429,503
    GET /configs/{id}/services 200,400,401,429,503 paged
    GET /controller-settings 200,400,401,429 paged
    POST /controller-settings 201,400,401,429 !{controllerId*:s oidc:{postLogoutUris:[s] redirectUris:[s]} tags:o}
    GET /controller-settings/{id} 200,401,404,429
    GET /controller-settings/{id}/effective 200,401,404,429
    PUT /controller-settings/{id}/effective 200,400,401,404,429 !{oidc:{postLogoutUris:[s] redirectUris:[s]} tags:o}
    PATCH /controller-settings/{id}/effective 200,400,401,404,429 !{oidc:{postLogoutUris:[s] redirectUris:[s]} tags:o}
    DELETE /controller-settings/{id}/effective 200,400,401,409,429
    GET /controllers 200,400,401,429 paged
    GET /current-api-session 200,401
    DELETE /current-api-session 200,401
    POST /current-api-session/totp-token 200,401,404 !{code*:s}
    GET /current-identity 200,401
    GET /current-identity/authenticators 200,400,401 paged
    GET /current-identity/authenticators/{id} 200,401,404
    PUT /current-identity/authenticators/{id} 200,400,401,404 !{currentPassword*:s(5..100) password*:s(5..100) tags:o username*:s(4..100)}
    PATCH /current-identity/authenticators/{id} 200,400,401,404 !{currentPassword*:s(5..100) password:s(5..100) tags:o username:s(4..100)}
    POST /current-identity/authenticators/{id}/extend 200,401 !{clientCertCsr*:s}
    POST /current-identity/authenticators/{id}/extend-verify 200,401 !{clientCert*:s}
    GET /current-identity/mfa 200,401,404
    POST /current-identity/mfa 201,401,409
    DELETE /current-identity/mfa 200,401,404
    GET /current-identity/mfa/qr-code 200,404
    GET /current-identity/mfa/recovery-codes 200,401,404 ~{code*:s}
    POST /current-identity/mfa/recovery-codes 200,401,404 !{code*:s}
    POST /current-identity/mfa/verify 200,401,404 !{code*:s}
    POST /database/check-data-integrity 202,401,429
    GET /database/data-integrity-results 200,401,429,503
    POST /database/fix-data-integrity 202,401,429
    POST /database/snapshot 200,401,429
    GET /edge-router-policies 200,400,401,429,503 paged
    POST /edge-router-policies 201,400,401,429,503 !{edgeRouterRoles:[s] identityRoles:[s] name*:s semantic*:AllOf|AnyOf tags:o}
    GET /edge-router-policies/{id} 200,401,404,429,503
    PUT /edge-router-policies/{id} 200,400,401,404,429,503 !{edgeRouterRoles:[s] identityRoles:[s] name*:s semantic*:AllOf|AnyOf tags:o}
    PATCH /edge-router-policies/{id} 200,400,401,404,429,503 !{edgeRouterRoles:[s] identityRoles:[s] name:s semantic:AllOf|AnyOf tags:o}
    DELETE /edge-router-policies/{id} 200,400,401,404,409,429,503
    GET /edge-router-policies/{id}/edge-routers 200,401,404,429,503
    GET /edge-router-policies/{id}/identities 200,401,404,429,503
    GET /edge-router-role-attributes 200,400,401,429,503 paged
    GET /edge-routers 200,400,401,429,503 paged
    POST /edge-routers 201,400,401,429,503 !{appData:o configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b isTunnelerEnabled:b name*:s noTraversal:b roleAttributes:[s] tags:o}
    GET /edge-routers/{id} 200,401,404,429,503
    PUT /edge-routers/{id} 200,400,401,404,429,503 !{appData:o configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b isTunnelerEnabled:b name*:s noTraversal:b roleAttributes:[s] tags:o}
    PATCH /edge-routers/{id} 200,400,401,404,429,503 !{appData:o configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b isTunnelerEnabled:b name:s noTraversal:b roleAttributes:[s] tags:o}
    DELETE /edge-routers/{id} 200,400,401,404,409,429,503
    GET /edge-routers/{id}/edge-router-policies 200,401,404,429,503
    GET /edge-routers/{id}/identities 200,401,404,429,503
    POST /edge-routers/{id}/re-enroll 200,401,404,429,503
    GET /edge-routers/{id}/service-edge-router-policies 200,401,404,429,503
    GET /edge-routers/{id}/services 200,401,404,429,503
    GET /enrollments 200,400,401,429,503 paged
    POST /enrollments 201,400,401,409,429,503 !{caId:s expiresAt*:t identityId*:s method*:ott|ottca|updb username:s}
    GET /enrollments/{id} 200,401,404,429,503
    DELETE /enrollments/{id} 200,400,401,404,429,503
    POST /enrollments/{id}/refresh 200,400,401,429,503 !{expiresAt*:t}
    GET /enumerated-capabilities 200 open
    GET /external-jwt-signers 200,400,401,429,503 paged
    POST /external-jwt-signers 201,400,401,429,503 !{audience*:s certPem:s claimsProperty:s clientId:s enabled*:b enrollAttributeClaimsSelector:s enrollAuthPolicyId:s enrollNameClaimsSelector:s enrollToCertEnabled:b enrollToTokenEnabled:b externalAuthUrl:s issuer*:s jwksEndpoint:s kid:s name*:s scopes:[s] tags:o targetToken:ACCESS|ID useExternalId:b}
    GET /external-jwt-signers/{id} 200,401,404,429,503
    PUT /external-jwt-signers/{id} 200,400,401,404,429,503 !{audience*:s certPem:s claimsProperty:s clientId:s enabled*:b enrollAttributeClaimsSelector:s enrollAuthPolicyId:s enrollNameClaimsSelector:s enrollToCertEnabled:b enrollToTokenEnabled:b externalAuthUrl:s issuer*:s jwksEndpoint:s kid:s name*:s scopes:[s] tags:o targetToken:ACCESS|ID useExternalId:b}
    PATCH /external-jwt-signers/{id} 200,400,401,404,429,503 !{audience:s certPem:s claimsProperty:s clientId:s enabled:b enrollAttributeClaimsSelector:s enrollAuthPolicyId:s enrollNameClaimsSelector:s enrollToCertEnabled:b enrollToTokenEnabled:b externalAuthUrl:s issuer:s jwksEndpoint:s kid:s name:s scopes:[s] tags:o targetToken:ACCESS|ID useExternalId:b}
    DELETE /external-jwt-signers/{id} 200,400,401,404,429,503
    GET /identities 200,400,401,429,503 paged
    POST /identities 201,400,401,429,503 !{appData:o authPolicyId:s defaultHostingCost:i(0..65535) defaultHostingPrecedence:default|required|failed enrollment:{ott:b ottca:s updb:s} externalId:s isAdmin*:b name*:s permissions:[s] roleAttributes:[s] serviceHostingCosts:<i(0..65535)> serviceHostingPrecedences:<default|required|failed> tags:o type*:User|Device|Service|Router|Default}
    GET /identities/{id} 200,401,404,429,503
    PUT /identities/{id} 200,400,401,404,429,503 !{appData:o authPolicyId:s defaultHostingCost:i(0..65535) defaultHostingPrecedence:default|required|failed externalId:s isAdmin*:b name*:s permissions:[s] roleAttributes:[s] serviceHostingCosts:<i(0..65535)> serviceHostingPrecedences:<default|required|failed> tags:o type*:User|Device|Service|Router|Default}
    PATCH /identities/{id} 200,400,401,404,429,503 !{appData:o authPolicyId:s defaultHostingCost:i(0..65535) defaultHostingPrecedence:default|required|failed externalId:s isAdmin:b name:s permissions:[s] roleAttributes:[s] serviceHostingCosts:<i(0..65535)> serviceHostingPrecedences:<default|required|failed> tags:o type:User|Device|Service|Router|Default}
    DELETE /identities/{id} 200,400,401,404,409,429,503
    GET /identities/{id}/authenticators 200,401,404,429,503
    POST /identities/{id}/disable 200,401,404,429,503 !{durationMinutes*:i}
    GET /identities/{id}/edge-router-policies 200,401,404,429,503
    GET /identities/{id}/edge-routers 200,401,404,429,503
    POST /identities/{id}/enable 200,401,404,429,503
    GET /identities/{id}/enrollments 200,401,404,429,503
    GET /identities/{id}/failed-service-requests 200,401,404,429,503
    DELETE /identities/{id}/mfa 200,401,404,429,503
    GET /identities/{id}/policy-advice/{serviceId} 200,401,404,429,503
    GET /identities/{id}/posture-data 200,401,404,429,503
    GET /identities/{id}/service-configs 200,401,404,429,503
    POST /identities/{id}/service-configs 200,400,401,404,429,503 ![{configId*:s serviceId*:s}]
    DELETE /identities/{id}/service-configs 200,400,401,404,429,503 ~[{configId*:s serviceId*:s}]
    GET /identities/{id}/service-policies 200,401,404,429,503
    GET /identities/{id}/services 200,401,404,429,503 ?policyType=dial|bind
    PUT /identities/{id}/trace 200,400,401,404,429,503 !{channels:[s] duration:s enabled:b traceId:s}
    GET /identity-role-attributes 200,400,401,429,503 paged
    GET /identity-types 200,400,401,429,503 paged
    GET /identity-types/{id} 200,401,404,429,503
    GET /network-jwts 200,400,429
    GET /posture-check-role-attributes 200,400,401,429,503 paged
    GET /posture-check-types 200,400,401,429,503 paged
    GET /posture-check-types/{id} 200,401,404,429,503
    GET /posture-checks 200,400,401,429,503 paged
    POST /posture-checks 201,400,401,429,503 !{name*:s roleAttributes:[s] tags:o typeId*:OS|PROCESS|DOMAIN|MAC|MFA|PROCESS_MULTI}
    GET /posture-checks/{id} 200,401,404,429,503
    PUT /posture-checks/{id} 200,400,401,404,429,503 !{name*:s roleAttributes:[s] tags:o typeId:OS|PROCESS|DOMAIN|MAC|MFA|PROCESS_MULTI}
    PATCH /posture-checks/{id} 200,400,401,404,429,503 !{name:s roleAttributes:[s] tags:o typeId*:OS|PROCESS|DOMAIN|MAC|MFA|PROCESS_MULTI}
    DELETE /posture-checks/{id} 200,403,404,429,503
    GET /revocations 200,400,401,429,503 paged
    POST /revocations 201,400,401,404,429,503 !{id*:s tags:o type*:JTI|IDENTITY|API_SESSION}
    GET /revocations/{id} 200,401,404,429,503
    GET /routers 200,400,401,429,503 paged
    POST /routers 201,400,401,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name*:s noTraversal:b tags:o}
    GET /routers/{id} 200,401,404,429,503
    PUT /routers/{id} 200,400,401,404,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name*:s noTraversal:b tags:o}
    PATCH /routers/{id} 200,400,401,404,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name:s noTraversal:b tags:o}
    DELETE /routers/{id} 200,400,401,409,429,503
    GET /service-edge-router-policies 200,400,401,429,503 paged
    POST /service-edge-router-policies 201,400,401,429,503 !{edgeRouterRoles:[s] name*:s semantic*:AllOf|AnyOf serviceRoles:[s] tags:o}
    GET /service-edge-router-policies/{id} 200,401,404,429,503
    PUT /service-edge-router-policies/{id} 200,400,401,404,429,503 !{edgeRouterRoles:[s] name*:s semantic*:AllOf|AnyOf serviceRoles:[s] tags:o}
    PATCH /service-edge-router-policies/{id} 200,400,401,404,429,503 !{edgeRouterRoles:[s] name:s semantic:AllOf|AnyOf serviceRoles:[s] tags:o}
    DELETE /service-edge-router-policies/{id} 200,400,401,404,409,429,503
    GET /service-edge-router-policies/{id}/edge-routers 200,401,404,429,503
    GET /service-edge-router-policies/{id}/services 200,401,404,429,503
    GET /service-policies 200,400,401,429,503 paged
    POST /service-policies 201,400,401,429,503 !{identityRoles:[s] name*:s postureCheckRoles:[s] semantic*:AllOf|AnyOf serviceRoles:[s] tags:o type*:Dial|Bind|Invalid}
    GET /service-policies/{id} 200,401,404,429,503
    PUT /service-policies/{id} 200,400,401,404,429,503 !{identityRoles:[s] name*:s postureCheckRoles:[s] semantic*:AllOf|AnyOf serviceRoles:[s] tags:o type*:Dial|Bind|Invalid}
    PATCH /service-policies/{id} 200,400,401,404,429,503 !{identityRoles:[s] name:s postureCheckRoles:[s] semantic:AllOf|AnyOf serviceRoles:[s] tags:o type:Dial|Bind|Invalid}
    DELETE /service-policies/{id} 200,400,401,404,409,429,503
    GET /service-policies/{id}/identities 200,400,401,429,503 paged
    GET /service-policies/{id}/posture-checks 200,400,401,429,503 paged
    GET /service-policies/{id}/services 200,400,401,429,503 paged
    GET /service-role-attributes 200,400,401,429,503 paged
    GET /services 200,400,401,429,503 paged
    POST /services 201,400,401,429,503 !{configs:[s] encryptionRequired*:b maxIdleTimeMillis:i name*:s roleAttributes:[s] tags:o terminatorStrategy:s}
    GET /services/{id} 200,401,404,429,503
    PUT /services/{id} 200,400,401,404,429,503 !{configs:[s] encryptionRequired:b maxIdleTimeMillis:i name*:s roleAttributes:[s] tags:o terminatorStrategy:s}
    PATCH /services/{id} 200,400,401,404,429,503 !{configs:[s] encryptionRequired:b maxIdleTimeMillis:i name:s roleAttributes:[s] tags:o terminatorStrategy:s}
    DELETE /services/{id} 200,400,401,404,409,429,503
    GET /services/{id}/configs 200,400,401,429,503 paged
    GET /services/{id}/edge-routers 200,400,401,429,503 paged
    GET /services/{id}/identities 200,400,401,429,503 paged ?policyType=dial|bind
    GET /services/{id}/service-edge-router-policies 200,400,401,429,503 paged
    GET /services/{id}/service-policies 200,400,401,429,503 paged
    GET /services/{id}/terminators 200,400,401,429,503 paged
    GET /sessions 200,400,401,429,503 paged
    GET /sessions/{id} 200,401,404,429,503
    DELETE /sessions/{id} 200,400,401,404,409,429,503
    GET /sessions/{id}/route-path 200,401,404,429,503
    GET /specs 200 open
    GET /specs/{id} 200 open
    GET /specs/{id}/spec 200 open
    GET /summary 200,401,429,503
    GET /terminators 200,400,401,429,503 paged
    POST /terminators 201,400,401,429,503 !{address*:s binding*:s cost:i(0..65535) identity:s identitySecret:s precedence:default|required|failed router*:s service*:s tags:o}
    GET /terminators/{id} 200,401,404,429,503
    PUT /terminators/{id} 200,400,401,404,429,503 !{address*:s binding*:s cost:i(0..65535) precedence:default|required|failed router*:s service*:s tags:o}
    PATCH /terminators/{id} 200,400,401,404,429,503 !{address:s binding:s cost:i(0..65535) precedence:default|required|failed router:s service:s tags:o}
    DELETE /terminators/{id} 200,400,401,404,409,429,503
    GET /transit-routers 200,400,401,429,503 paged
    POST /transit-routers 201,400,401,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name*:s noTraversal:b tags:o}
    GET /transit-routers/{id} 200,401,404,429,503
    PUT /transit-routers/{id} 200,400,401,404,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name*:s noTraversal:b tags:o}
    PATCH /transit-routers/{id} 200,400,401,404,429,503 !{configs:[s] cost:i(0..65535) ctrlChanListeners:<[s]> disabled:b name:s noTraversal:b tags:o}
    DELETE /transit-routers/{id} 200,400,401,404,409,429,503
    GET /version 200 open
    """

  /// Members of what the answers of one kind hold.
  static let answers = """
    identities {_links*:links appData:o? authPolicy*:ref authPolicyId*:s authenticators*:{cert:{fingerprint:s id:s} updb:{id:s username:s}} createdAt*:t defaultHostingCost*:i defaultHostingPrecedence:default|required|failed disabled*:b disabledAt:t? disabledUntil:t? edgeRouterConnectionStatus*:online|offline|unknown enrollment*:{ott:{expiresAt:t id:s jwt:s token:s} ottca:{ca:ref caId:s expiresAt:t id:s jwt:s token:s} updb:{expiresAt:t id:s jwt:s token:s}} envInfo*:{arch:s domain:s hostname:s os:s osRelease:s osVersion:s} externalId*:s? hasApiSession*:b hasEdgeRouterConnection*:b id*:s interfaces:[{addresses:[s] hardwareAddress*:s index*:i isBroadcast*:b isLoopback*:b isMulticast*:b isRunning*:b isUp*:b mtu*:i name*:s}] isAdmin*:b isDefaultAdmin*:b isMfaEnabled*:b name*:s permissions*:[s]? roleAttributes*:[s]? sdkInfo*:{appId:s appVersion:s branch:s revision:s type:s version:s} serviceHostingCosts*:<i> serviceHostingPrecedences*:<default|required|failed> tags:o? type*:ref typeId*:s updatedAt*:t}
    services {_links*:links config*:<<o>> configs*:[s] createdAt*:t encryptionRequired*:b id*:s maxIdleTimeMillis*:i name*:s permissions*:[Dial|Bind|Invalid] postureQueries*:[{isPassing*:b policyId*:s policyType:Dial|Bind|Invalid postureQueries*:[o]}] roleAttributes*:[s]? tags:o? terminatorStrategy*:s updatedAt*:t}
    config-types {_links*:links createdAt*:t id*:s name*:s schema*:o tags:o? target:service|router? updatedAt*:t}
    configs {_links*:links configType*:ref configTypeId*:s createdAt*:t data*:o id*:s name*:s tags:o? updatedAt*:t}
    service-policies {_links*:links createdAt*:t id*:s identityRoles*:[s] identityRolesDisplay*:[{name:s role:s}] name*:s postureCheckRoles*:[s] postureCheckRolesDisplay*:[{name:s role:s}] semantic*:AllOf|AnyOf serviceRoles*:[s] serviceRolesDisplay*:[{name:s role:s}] tags:o? type*:Dial|Bind|Invalid updatedAt*:t}
    edge-router-policies {_links*:links createdAt*:t edgeRouterRoles*:[s] edgeRouterRolesDisplay*:[{name:s role:s}] id*:s identityRoles*:[s] identityRolesDisplay*:[{name:s role:s}] isSystem*:b name*:s semantic*:AllOf|AnyOf tags:o? updatedAt*:t}
    service-edge-router-policies {_links*:links createdAt*:t edgeRouterRoles*:[s] edgeRouterRolesDisplay*:[{name:s role:s}] id*:s name*:s semantic*:AllOf|AnyOf serviceRoles*:[s] serviceRolesDisplay*:[{name:s role:s}] tags:o? updatedAt*:t}
    edge-routers {_links*:links appData:o? certPem:s? configs:[s] cost*:i? createdAt*:t ctrlChanListeners:<[s]> disabled*:b enrollmentCreatedAt:t? enrollmentExpiresAt:t? enrollmentJwt:s? enrollmentToken:s? fingerprint:s hostname*:s id*:s interfaces:[{addresses:[s] hardwareAddress*:s index*:i isBroadcast*:b isLoopback*:b isMulticast*:b isRunning*:b isUp*:b mtu*:i name*:s}] isOnline*:b isTunnelerEnabled*:b isVerified*:b name*:s noTraversal*:b? roleAttributes*:[s]? supportedProtocols*:<s> syncStatus*:s tags:o? unverifiedCertPem:s? unverifiedFingerprint:s? updatedAt*:t versionInfo:{arch*:s buildDate*:s os*:s revision*:s version*:s}}
    terminators {_links*:links address*:s binding*:s cost*:i createdAt*:t dynamicCost*:i id*:s identity*:s precedence*:default|required|failed router*:ref routerId*:s service*:ref serviceId*:s tags:o? updatedAt*:t}
    enrollments {_links*:links caId:s? createdAt*:t edgeRouter:ref edgeRouterId:s expiresAt*:t id*:s identity:ref identityId:s jwt:s method*:s tags:o? token*:s transitRouter:ref transitRouterId:s updatedAt*:t username:s}
    authenticators {_links*:links certPem:s createdAt*:t extendRequestedAt:t? fingerprint:s id*:s identity*:ref identityId*:s isExtendRequested:b isIssuedByNetwork:b isKeyRollRequested:b lastAuthResolvedToRoot:b lastExtendRolledKeys:b method*:s tags:o? updatedAt*:t username:s}
    auth-policies {_links*:links createdAt*:t id*:s name*:s primary*:{cert*:{allowExpiredCerts*:b allowed*:b} extJwt*:{allowed*:b allowedSigners*:[s]} updb*:{allowed*:b lockoutDurationMinutes*:i maxAttempts*:i minPasswordLength*:i requireMixedCase*:b requireNumberChar*:b requireSpecialChar*:b}} secondary*:{requireExtJwtSigner:s? requireTotp*:b} tags:o? updatedAt*:t}
    api-sessions {_links*:links authQueries*:[{clientId:s format:numeric|alpha|alphaNumeric httpMethod:s httpUrl:s id:s isTotpEnrolled:b maxLength:i minLength:i provider*:ziti|url scopes:[s] typeId:MFA|TOTP|EXT-JWT}] authenticatorId*:s cachedLastActivityAt:t configTypes*:[s] createdAt*:t id*:s identity*:ref identityId*:s improperClientCertChain:b ipAddress*:s isCertExtendRequested:b isCertExtendable*:b isCertKeyRollRequested:b isMfaComplete*:b isMfaRequired*:b lastActivityAt:t tags:o? token*:s updatedAt*:t}
    sessions {_links*:links apiSession*:ref apiSessionId*:s createdAt*:t edgeRouters*:[{appData:o? cost*:i? disabled*:b hostname*:s isOnline*:b name*:s noTraversal*:b? supportedProtocols*:<s> syncStatus*:s urls*:<s>}] id*:s identityId*:s service*:ref serviceId*:s servicePolicies:[ref] tags:o? token*:s type*:Dial|Bind|Invalid updatedAt*:t}
    identity-types {_links*:links createdAt*:t id*:s name:s tags:o? updatedAt*:t}
    policy-advice {commonRouters:[{_links:links entity:s id:s isOnline*:b name:s}] identity:ref identityId:s identityRouterCount:i isBindAllowed:b isDialAllowed:b service:ref serviceId:s serviceRouterCount:i}
    posture-data {apiSessionPostureData*:<{endpointState:o mfa*:o sdkInfo:o}> domain*:{domain*:s lastUpdatedAt*:t postureCheckId*:s timedOut*:b} mac*:{addresses*:[s] lastUpdatedAt*:t postureCheckId*:s timedOut*:b} os*:{build*:s lastUpdatedAt*:t postureCheckId*:s timedOut*:b type*:s version*:s} processes*:[{binaryHash:s isRunning:b lastUpdatedAt*:t postureCheckId*:s signerFingerprints:[s] timedOut*:b}]}
    service-configs {config*:ref configId*:s service*:ref serviceId*:s}
    current-api-session {_links*:links authQueries*:[{clientId:s format:numeric|alpha|alphaNumeric httpMethod:s httpUrl:s id:s isTotpEnrolled:b maxLength:i minLength:i provider*:ziti|url scopes:[s] typeId:MFA|TOTP|EXT-JWT}] authenticatorId*:s cachedLastActivityAt:t configTypes*:[s] createdAt*:t expirationSeconds*:i expiresAt*:t id*:s identity*:ref identityId*:s improperClientCertChain:b ipAddress*:s isCertExtendRequested:b isCertExtendable*:b isCertKeyRollRequested:b isMfaComplete*:b isMfaRequired*:b lastActivityAt:t tags:o? token*:s updatedAt*:t}
    client/sessions {_links*:links apiSession*:ref apiSessionId*:s createdAt*:t edgeRouters*:[{appData:o? cost*:i? disabled*:b hostname*:s isOnline*:b name*:s noTraversal*:b? supportedProtocols*:<s> syncStatus*:s urls*:<s>}] id*:s identityId*:s service*:ref serviceId*:s tags:o? token*:s type*:Dial|Bind|Invalid updatedAt*:t}
    client/current-identity/edge-routers {_links*:links appData:o? cost*:i? createdAt*:t disabled*:b hostname*:s id*:s isOnline*:b name*:s noTraversal*:b? supportedProtocols*:<s> syncStatus*:s tags:o? updatedAt*:t}
    client/current-api-session/certificates {_links*:links certificate*:s createdAt*:t fingerprint*:s id*:s subject*:s tags:o? updatedAt*:t validFrom*:t validTo*:t}
    client/terminators {_links*:links createdAt*:t id*:s identity*:s routerId*:s service*:ref serviceId*:s tags:o? updatedAt*:t}
    client/services/edge-routers {edgeRouters:[{appData:o? cost*:i? disabled*:b hostname*:s isOnline*:b name*:s noTraversal*:b? supportedProtocols*:<s> syncStatus*:s}]}
    client/network-jwts {name*:s token*:s}
    """

  /// `meta.filterableFields` of the lists of the management API, beside createdAt, id, isSystem, tags and updatedAt
  /// (captures rest/075 to rest/095). Not among them: the password and salt of authenticators, which nobody may ask
  /// for, and the tokens of sessions, which are stored sealed.
  static let filterable = """
    api-sessions authenticator identity improperClientCertChain ipAddress lastActivityAt mfaComplete mfaRequired
    auth-policies name primary.cert.allowExpiredCerts primary.cert.allowed primary.extJwt.allowed primary.updb.allowed primary.updb.maxAttempts primary.updb.minPasswordLength primary.updb.requireMixedCase primary.updb.requireNumberChar primary.updb.requireSpecialChar secondary.requireExtJwtSigner secondary.requireTotp
    authenticators certFingerprint certPem extendRequestedAt identity isExtendRequested isIssuedByNetwork isKeyRollRequested lastAuthResolvedToRoot lastExtendRolledKeys method publicKeyPrint updbUsername
    config-types name schema target
    configs name type
    edge-router-policies edgeRouterRoles identityRoles name semantic
    edge-routers configs connected cost ctrlChanListeners disabled fingerprint isTunnelerEnabled isVerified name noTraversal online roleAttributes
    enrollments caId edgeRouter identity token transitRouter
    identities authPolicyId externalId isAdmin isDefaultAdmin name roleAttributes type
    identity-types name
    service-edge-router-policies edgeRouterRoles name semantic serviceRoles
    service-policies identities identityRoles name postureCheckRoles semantic serviceRoles services type
    services configs isFabricOnly name roleAttributes terminatorStrategy
    sessions apiSession service type
    terminators address binding hostId instanceId router router.name service service.name sourceCtrl
    """

  /// Names of `_links` beside `self`, of entities and of references to them (captures rest/076 to rest/095, rest/107,
  /// rest/119).
  static let links = """
    identities auth-policies authenticators edge-router-policies edge-routers enrollments failed-service-requests posture-data service-configs service-policies services
    services configs service-edge-router-policies service-policies terminators
    service-policies identities posture-checks services
    edge-router-policies edge-routers identities
    service-edge-router-policies edge-routers services
    edge-routers edge-router-policies
    api-sessions sessions
    sessions route-path
    """

  /// Declared, and not served: what this network does not have. They answer 404, or 405 where the path serves other
  /// methods.
  static let absent = (
    client: [
      "/current-api-session/totp-token", "/current-identity/mfa", "/enroll/ca", "/enroll/challenge", "/enroll/jwks",
      "/enroll/ottca", "/enroll/token",
      "/specs", "PUT /services/{id}", "PATCH /services/{id}", "DELETE /services/{id}",
    ],
    management: [
      "/authenticators/{id}/request-extend", "/cas", "/controller-settings", "/current-api-session/totp-token",
      "/current-identity/mfa", "/database",
      "/external-jwt-signers", "/identities/{id}/mfa", "/identities/{id}/trace", "/posture-check-role-attributes",
      "/posture-check-types",
      "/posture-checks", "/revocations", "/routers", "/specs", "/transit-routers",
    ]
  )
}
