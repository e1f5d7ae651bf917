//! JWK thumbprints (RFC 7638).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::Jwk;

impl Jwk {
    /// The SHA-256 thumbprint of a public key, in base64url. `None` if the key lacks a member, or is of another type.
    ///
    /// The members are hashed as they were written, so each way to write a key has its own thumbprint.
    pub(crate) fn thumbprint(&self) -> Option<String> {
        // RFC 7638 §3.2, in the order of §3.3; RFC 8037 §2 for `OKP`.
        let names: &[&str] = match self.text("kty").ok()? {
            "EC" => &["crv", "kty", "x", "y"],
            "OKP" => &["crv", "kty", "x"],
            "RSA" => &["e", "kty", "n"],
            _ => return None,
        };
        let member = |name: &&str| Some(format!("\"{name}\":{}", serde_json::to_string(self.text(name).ok()?).ok()?));
        let members: Vec<String> = names.iter().map(member).collect::<Option<_>>()?;
        Some(URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(",")))))
    }
}

#[cfg(test)]
mod tests {
    use super::Jwk;

    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        for (jwk, expected) in [
            // RFC 7638 §3.1.
            (
                r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
                Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            ),
            // RFC 9449 §6.1.
            (
                r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#,
                Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            ),
            // RFC 8037 §A.3.
            (
                r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
                Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
            ),
            (r#"{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"}"#, None),
            (r#"{"kty":"RSA","n":7,"e":"AQAB"}"#, None),
            (r#"{"kty":"oct","k":"c2VjcmV0"}"#, None),
            ("{}", None),
        ] {
            let key: Jwk = serde_json::from_str(jwk).expect("json");
            assert_eq!(key.thumbprint().as_deref(), expected, "{jwk}");
        }
    }
}
