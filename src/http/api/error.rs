//! Errors of the HTTP API: a kind, which decides the status code, and a text.

use hyper::StatusCode;

use crate::promql::QueryError;
use crate::store::StoreError;

/// `errorType` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request is wrong.
    BadData,
    /// The query cannot be evaluated on this data.
    Execution,
    /// It took too long.
    Timeout,
    /// The client left, or the server stops.
    Canceled,
    /// Something in outpost failed.
    Internal,
    /// Too much is asked at a time.
    Unavailable,
    /// What is asked for is not here.
    NotFound,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // nginx's "client closed request", which Prometheus uses too.
            Self::Canceled => StatusCode::from_u16(499).expect("499 is within the range of status codes"),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// What the API answers instead of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    kind: ErrorKind,
    message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The request is wrong as a whole.
    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// One parameter of the request is wrong.
    pub(crate) fn invalid_parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn error_type(&self) -> &'static str {
        self.kind.as_str()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(error) => Self::invalid_parameter("query", error),
            QueryError::Duration(_) => Self::invalid_parameter("query", error),
            QueryError::Execution(_) | QueryError::TooManySamples { .. } | QueryError::TooMuchMemory { .. } => {
                Self::new(ErrorKind::Execution, error.to_string())
            }
            QueryError::TooMuchMemoryInAll { .. } => Self::new(ErrorKind::Unavailable, error.to_string()),
            QueryError::Timeout => Self::new(ErrorKind::Timeout, error.to_string()),
            QueryError::Cancelled => Self::new(ErrorKind::Canceled, error.to_string()),
            QueryError::Storage(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::DeadlineExceeded => ErrorKind::Timeout,
            StoreError::Cancelled => ErrorKind::Canceled,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, with_sources(&error))
    }
}

/// An error and what led to it, outermost first.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
