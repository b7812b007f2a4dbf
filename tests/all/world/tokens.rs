//! Access tokens, signed with the gateway's own keys.

use firebreak::jose::AccessTokenClaims;

use super::{BASE, World};

/// What a token grants; the cases of the attack list name them by letters.
#[derive(Clone, Debug)]
pub(crate) struct Grant(pub(crate) AccessTokenClaims);

impl Grant {
    /// For `patient`, on behalf of a clinician.
    pub(crate) fn patient(scope: &str, patient: &str) -> Self {
        let mut grant = Self::user(scope, "Practitioner/d1", &["clinician"]);
        grant.0.patient = Some(patient.to_owned());
        grant
    }

    pub(crate) fn user(scope: &str, fhir_user: &str, roles: &[&str]) -> Self {
        Self(AccessTokenClaims {
            iss: "https://gw.example.org".to_owned(),
            sub: "somebody".to_owned(),
            aud: BASE.to_owned(),
            client_id: "app".to_owned(),
            jti: firebreak::random::handle(),
            gid: firebreak::random::handle(),
            scope: scope.to_owned(),
            fhir_user: Some(fhir_user.to_owned()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..AccessTokenClaims::default()
        })
    }

    /// A backend client.
    pub(crate) fn system(scope: &str, client_id: &str) -> Self {
        let mut grant = Self::user(scope, "", &[]);
        (grant.0.fhir_user, grant.0.sub, grant.0.client_id) = (None, client_id.to_owned(), client_id.to_owned());
        grant
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut AccessTokenClaims)) -> Self {
        change(&mut self.0);
        self
    }
}

impl World {
    /// Signs `grant`, for five minutes from now unless it says otherwise.
    pub(crate) fn token(&self, grant: &Grant) -> String {
        let mut claims = grant.0.clone();
        let now = self.clock.unix_seconds();
        if claims.exp == 0 {
            (claims.iat, claims.exp) = (now, now + 300);
        }
        let token = self.keys.sign_access_token(&claims).unwrap();
        self.tokens.lock().unwrap().push(token.clone());
        token
    }

    /// Token A of the attack list.
    pub(crate) fn token_a(&self) -> String {
        self.token(&Grant::patient("patient/*.rs", "P1"))
    }
}
