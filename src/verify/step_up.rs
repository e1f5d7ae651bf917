use std::time::{Duration, SystemTime};

use super::{
    VerifyError,
    scope::{is_scope, is_scope_token},
};
use crate::error::ConfigError;

#[allow(unused_imports, reason = "for the docs")]
use super::Verifier;

/// How and how recently users must have signed in (RFC 9470), for requests or for parts of a session that need more
/// than a valid token.
///
/// [`check`](Self::check) compares it with the claims `acr` and `auth_time`. In [`Verifier::authorize`], it refuses a
/// request with 401 and a challenge that tells the client what to ask the authorization server for. In
/// [`Session::require`](crate::Session::require), the client is asked over its open socket.
///
/// # Example
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use axum::{Router, http::StatusCode, routing::any};
/// use axum_ws_auth::{StepUp, Verifier, WsAuthLayer};
/// use axum_ws_auth::test_util::{self, TestToken, handshake};
/// use tower::ServiceExt;
///
/// #[derive(serde::Deserialize)]
/// struct Claims {
///     acr: Option<String>,
///     auth_time: Option<u64>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let step_up = StepUp::new().acr_values(["urn:example:mfa"])?.max_age(Duration::from_secs(300));
/// let verifier = test_util::verifier::<Claims>().authorize(move |claims, _| {
///     step_up.check(claims.acr.as_deref(), claims.auth_time, SystemTime::now())
/// });
/// let app = Router::new().route("/admin", any(test_util::echo)).layer(WsAuthLayer::new(verifier));
/// let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
/// let token = |auth_time: u64| TestToken::new("alice").claim("acr", "urn:example:mfa").claim("auth_time", auth_time).sign();
///
/// // Yes: the user has just signed in with a second factor.
/// let request = handshake().path("/admin").bearer_subprotocol(&token(now)).build();
/// assert_eq!(app.clone().oneshot(request).await?.status(), StatusCode::SWITCHING_PROTOCOLS);
///
/// // No: that was an hour ago.
/// let request = handshake().path("/admin").bearer_subprotocol(&token(now - 3600)).build();
/// let response = app.oneshot(request).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(
///     response.headers()["www-authenticate"],
///     "Bearer realm=\"websocket\", error=\"insufficient_user_authentication\", \
///      acr_values=\"urn:example:mfa\", max_age=\"300\"",
/// );
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct StepUp {
    /// Empty if any will do.
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    scope: Option<String>,
    within: Duration,
    keeps_session: bool,
}

/// As for `exp`: the clocks of the authorization server and of this machine differ.
const LEEWAY: Duration = Duration::from_secs(30);

impl Default for StepUp {
    fn default() -> Self {
        Self::new()
    }
}

impl StepUp {
    /// Demands nothing yet. [`check`](Self::check) refuses everything until there are [`acr_values`](Self::acr_values)
    /// or a [`max_age`](Self::max_age), because a requirement that was forgotten must not pass.
    pub const fn new() -> Self {
        let within = Duration::from_secs(120);
        Self { acr_values: Vec::new(), max_age: None, scope: None, within, keeps_session: false }
    }

    /// Sets the authentication context classes of which the token must name one as `acr`, the preferred one first.
    /// Defaults to none: any class will do.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidAcr`] if one is empty, or holds a space, a quote, a backslash, or anything but visible
    /// ASCII.
    pub fn acr_values<I>(self, values: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let acr_values: Vec<String> = values.into_iter().map(Into::into).collect();
        match acr_values.iter().find(|value| !is_scope_token(value)) {
            Some(value) => Err(ConfigError::InvalidAcr(value.clone())),
            None => Ok(Self { acr_values, ..self }),
        }
    }

    /// Sets how long ago the user may have signed in, in whole seconds, rounded down. The token must say that as
    /// `auth_time`. Defaults to no limit.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets the scope that the client is told to ask for. [`check`](Self::check) does not look at it. Defaults to none:
    /// for a refused request, that of the layer ([`challenge_scope`](crate::WsAuthLayer::challenge_scope)).
    ///
    /// # Errors
    ///
    /// If it is empty, or holds a character that RFC 6749 §3.3 does not allow.
    pub fn scope(self, scope: impl Into<String>) -> Result<Self, ConfigError> {
        let scope = scope.into();
        if is_scope(&scope) { Ok(Self { scope: Some(scope), ..self }) } else { Err(ConfigError::InvalidScope(scope)) }
    }

    /// Sets how long a client has to send a better token in [`Session::require`](crate::Session::require).
    ///
    /// Defaults to two minutes, enough to find a phone and type a code.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn within(mut self, time: Duration) -> Result<Self, ConfigError> {
        if time.is_zero() {
            return Err(ConfigError::ZeroDuration("time for a step-up"));
        }
        self.within = time;
        Ok(self)
    }

    /// Leaves the session open if [`Session::require`](crate::Session::require) gets no better token in time. The
    /// handler must then refuse what it required that for.
    ///
    /// Defaults to ending the session, because a handler that overlooks the error then does no harm.
    pub const fn keep_session(mut self) -> Self {
        self.keeps_session = true;
        self
    }

    /// Compares the claims `acr` and `auth_time` (in Unix time) of a token.
    ///
    /// The `auth_time` has 30 seconds of leeway, for clocks that differ. It must not lie further in the future.
    ///
    /// # Errors
    ///
    /// [`VerifyError::insufficient_user_authentication`] if a claim is missing or insufficient, or if nothing is
    /// demanded.
    pub fn check(&self, acr: Option<&str>, auth_time: Option<u64>, now: SystemTime) -> Result<(), VerifyError> {
        let is_demanding = !self.acr_values.is_empty() || self.max_age.is_some();
        let has_class =
            self.acr_values.is_empty() || acr.is_some_and(|acr| self.acr_values.iter().any(|value| value == acr));
        let is_recent = self.max_age.is_none_or(|max_age| {
            let age = auth_time.and_then(|at| age(at, now));
            age.is_some_and(|age| age <= max_age.saturating_add(LEEWAY))
        });
        if is_demanding && has_class && is_recent { Ok(()) } else { Err(self.error()) }
    }

    /// The error that tells the client what is required.
    #[must_use]
    pub fn error(&self) -> VerifyError {
        let error = VerifyError::insufficient_user_authentication();
        let error = if self.acr_values.is_empty() { error } else { error.with_acr_values(self.acr_values.join(" ")) };
        let error = self.max_age.map_or(error.clone(), |max_age| error.with_max_age(max_age));
        match &self.scope {
            Some(scope) => error.with_scope(scope.clone()),
            None => error,
        }
    }

    pub(crate) const fn time(&self) -> Duration {
        self.within
    }

    pub(crate) const fn keeps_session(&self) -> bool {
        self.keeps_session
    }
}

/// The time since this one, which may be a little ahead of this machine's clock.
fn age(auth_time: u64, now: SystemTime) -> Option<Duration> {
    let auth_time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(auth_time))?;
    match now.duration_since(auth_time) {
        Ok(age) => Some(age),
        Err(ahead) => (ahead.duration() <= LEEWAY).then_some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_compares_acr_and_auth_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let acr = StepUp::new().acr_values(["mfa", "hwk"]).expect("values");
        let age = StepUp::new().max_age(Duration::from_secs(300));
        let both = acr.clone().max_age(Duration::from_secs(300));
        let at_once = StepUp::new().max_age(Duration::ZERO);
        for (name, step_up, acr, auth_time, passes) in [
            ("first class", &acr, Some("mfa"), None, true),
            ("second class", &acr, Some("hwk"), None, true),
            ("other class", &acr, Some("pwd"), None, false),
            ("both classes in one claim", &acr, Some("mfa hwk"), None, false),
            ("other case", &acr, Some("MFA"), None, false),
            ("empty class", &acr, Some(""), None, false),
            ("no class", &acr, None, Some(1_000_000), false),
            ("recent", &age, None, Some(999_700), true),
            ("within the leeway", &age, None, Some(999_670), true),
            ("too old", &age, None, Some(999_669), false),
            ("no time", &age, Some("mfa"), None, false),
            ("a little ahead", &age, None, Some(1_000_030), true),
            ("far ahead", &age, None, Some(1_000_031), false),
            ("no time that there is", &age, None, Some(u64::MAX), false),
            ("before all", &age, None, Some(0), false),
            ("both", &both, Some("mfa"), Some(999_700), true),
            ("class but too old", &both, Some("mfa"), Some(0), false),
            ("recent but no class", &both, None, Some(999_700), false),
            ("now", &at_once, None, Some(1_000_000), true),
            ("an earlier sign-in", &at_once, None, Some(999_969), false),
            ("nothing is demanded", &StepUp::new(), Some("mfa"), Some(1_000_000), false),
        ] {
            assert_eq!(step_up.check(acr, auth_time, now).is_ok(), passes, "{name}");
        }
    }

    #[test]
    fn values_that_cannot_be_written_do_not_build() {
        for value in ["", "a b", "a\"b", "a\\b", "a\nb", "ü"] {
            let error = StepUp::new().acr_values(["mfa", value]).map(drop);
            assert_eq!(error, Err(ConfigError::InvalidAcr(value.to_owned())));
        }
        assert_eq!(StepUp::new().scope("a  b").map(drop), Err(ConfigError::InvalidScope("a  b".to_owned())));
        assert!(StepUp::new().within(Duration::ZERO).is_err());
    }
}
