//! Why a request for another node has no answer.

use kobel_fanout::Refusal;

use crate::http::error::ApiError;

/// Why a request was not passed on, or not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForwardError {
    /// There is no such node, or it went away before it answered.
    #[error("there is no such node (any more)")]
    Unknown,
    /// It cannot be connected to, or broke off.
    #[error("the node cannot be reached")]
    Unreachable,
    /// It does not answer.
    #[error("the node does not answer")]
    Silent,
    /// The request was passed on before.
    #[error("the request was passed on before")]
    Again,
    /// The client's body is too large.
    #[error("the body is too large")]
    TooLarge,
    /// The client's body did not come in time.
    #[error("the body did not come in time")]
    TooSlow,
    /// The client broke off.
    #[error("the client broke off")]
    BrokenOff,
    /// Too much is passed on at the same time.
    #[error("too many requests for other nodes at the same time")]
    Full,
    /// This node is about to end.
    #[error("the node is shutting down")]
    Closing,
}

impl ForwardError {
    pub(super) const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Unreachable,
        Self::Silent,
        Self::Again,
        Self::TooLarge,
        Self::TooSlow,
        Self::BrokenOff,
        Self::Full,
        Self::Closing,
    ];

    /// Its name in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Again => "again",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BrokenOff => "broken_off",
            Self::Full => "full",
            Self::Closing => "closing",
        }
    }

    /// What an Engine.IO client is told. Where its session cannot be reached it opens another one,
    /// which it does at once when there is none.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Unknown | Self::Unreachable | Self::Silent | Self::Again | Self::BrokenOff => {
                Refusal::UnknownSession
            }
            Self::TooLarge => Refusal::TooLarge,
            Self::TooSlow => Refusal::TooSlow,
            Self::Full => Refusal::Full,
            Self::Closing => Refusal::Closing,
        }
    }
}

impl From<ForwardError> for ApiError {
    fn from(error: ForwardError) -> Self {
        Self::unavailable(format!("this needs another node of the cluster: {error}; try again"))
    }
}
