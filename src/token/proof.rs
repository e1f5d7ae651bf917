//! What comes with a token to show that its sender holds the token's key (RFC 9449).

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Token, header::Scheme};

/// The header of a proof (RFC 9449 §4.3).
pub(super) static HEADER: HeaderName = HeaderName::from_static("dpop");
/// The prefix of a subprotocol name that holds a proof. A JWS consists of characters that are legal in such a name.
pub(super) const PREFIX: &str = "dpop.";

/// The longest proof. One with an RSA key of 4096 bits is half as long.
const MAX_LEN: usize = 4096;

/// How a token was presented.
#[derive(Clone, Default)]
pub(crate) enum Presentation {
    /// Alone, as a bearer token.
    #[default]
    Bearer,
    /// Boxed, because tokens are moved a lot and few come with a proof.
    Proof(Box<Proof>),
    /// By the scheme `DPoP`, but without a proof.
    NoProof,
    /// With several proofs, or with one that is too long.
    UnusableProof,
    /// By the layer, which has the token of a session verified again. The client is not asked.
    Recheck,
}

/// A proof that is not verified yet.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) text: Box<str>,
    /// The request that it came with. `None` if that is the handshake whose head the verifier sees.
    pub(crate) request: Option<ProofRequest>,
    /// Whether another verifier will be asked too. This one must not use the proof up.
    #[serde(skip)]
    pub(crate) is_needed_again: bool,
}

/// What a proof says of the request that it was made for.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ProofRequest {
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Token {
    /// Adds a DPoP proof (RFC 9449 §4.2): the compact form of a JWS that the client made for this token.
    ///
    /// For a token that a client sends by a message, in a [`FirstMessage`](crate::FirstMessage) or a
    /// [`RefreshProtocol`](crate::RefreshProtocol) of your own, and for [`Session::refresh`](crate::Session::refresh).
    /// [`Dpop`](crate::Dpop) verifies it against the head of the handshake. Other verifiers ignore it.
    #[must_use]
    pub fn with_dpop_proof(mut self, proof: impl Into<Box<str>>) -> Self {
        self.presentation = Presentation::of(proof.into());
        self
    }

    pub(super) fn presented(mut self, presentation: Presentation) -> Self {
        self.presentation = presentation;
        self
    }

    pub(crate) const fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// The proof, for another node.
    pub(crate) const fn proof(&self) -> Option<&Proof> {
        match &self.presentation {
            Presentation::Proof(proof) => Some(proof),
            _ => None,
        }
    }

    /// The same token with the proof of another node.
    pub(crate) fn with_proof(mut self, proof: Option<Proof>) -> Self {
        self.presentation = proof.map_or(Presentation::Bearer, |proof| Presentation::Proof(Box::new(proof)));
        self
    }

    /// Binds the proof to a request that is no handshake.
    pub(crate) fn of_request(mut self, request: impl FnOnce() -> ProofRequest) -> Self {
        if let Presentation::Proof(proof) = &mut self.presentation {
            proof.request = Some(request());
        }
        self
    }

    /// The same token for a first verifier, which must not use the proof up.
    pub(crate) fn needed_again(&self) -> Self {
        let mut token = self.clone();
        if let Presentation::Proof(proof) = &mut token.presentation {
            proof.is_needed_again = true;
        }
        token
    }

    /// The token without its proof, to be verified again during its session.
    pub(crate) fn for_recheck(self) -> Self {
        self.presented(Presentation::Recheck)
    }
}

impl Presentation {
    fn of(text: Box<str>) -> Self {
        if text.len() > MAX_LEN {
            return Self::UnusableProof;
        }
        Self::Proof(Box::new(Proof { text, request: None, is_needed_again: false }))
    }

    /// What the header and a subprotocol name say about a token that came by this scheme, or elsewhere.
    ///
    /// A proof beside `Authorization: Bearer` does not count: a bound token must not be accepted by that scheme
    /// (RFC 9449 §7.2).
    pub(super) fn find(headers: &HeaderMap, name: Option<&[u8]>, scheme: Option<Scheme>) -> Self {
        if scheme == Some(Scheme::Bearer) {
            return Self::Bearer;
        }
        let lines = headers.get_all(&HEADER).iter().map(HeaderValue::as_bytes);
        let mut proofs = lines.chain(name);
        match (proofs.next(), proofs.next(), scheme) {
            (Some(proof), None, _) => str::from_utf8(proof).map_or(Self::UnusableProof, |proof| Self::of(proof.into())),
            (Some(_), Some(_), _) => Self::UnusableProof,
            (None, _, Some(Scheme::Dpop)) => Self::NoProof,
            (None, ..) => Self::Bearer,
        }
    }
}

/// The proof in a subprotocol name. Ignores case, because hiding a name from the handler is safer than exposing a
/// proof.
pub(super) fn in_subprotocol(name: &[u8]) -> Option<&[u8]> {
    let (prefix, proof) = name.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX.as_bytes()).then_some(proof)
}
