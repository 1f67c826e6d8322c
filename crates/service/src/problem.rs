//! Problems: the one closed list of what an HTTP request can be told besides yes (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpResponse, ResponseError};
use windlass_types::problem::{FieldError, ProblemBody};

/// Why a request was not done. docs/problems.md is made from this list.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The body, a query or a path does not parse or breaks a rule.
    #[error("{0}")]
    Malformed(String),
    /// Fields that are wrong.
    #[error("{} of the fields are wrong", .0.len())]
    Invalid(Vec<FieldError>),
    /// Fields that ask for what is not offered yet.
    #[error("{} of the fields ask for what this version does not offer", .0.len())]
    NotOffered(Vec<FieldError>),
    /// No key or a wrong one.
    #[error("{0}")]
    Unauthorized(String),
    /// The key is good, but not for this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The path takes other methods; these.
    #[error("this path takes {0}")]
    MethodNotAllowed(String),
    /// The sender fell silent in the middle of the body, for so many seconds.
    #[error("nothing more of the body came for {0} s")]
    TooSlow(u64),
    /// It clashes with what is there.
    #[error("{0}")]
    Conflict(String),
    /// It was changed since it was read.
    #[error("{0}")]
    Stale(String),
    /// More bytes than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// A content type or encoding that is not taken.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// Too often; seconds to wait.
    #[error("too many requests; try again in {0} s")]
    TooMany(u64),
    /// The store does not answer; try again.
    #[error("the store does not answer; nothing was changed; try again")]
    Unavailable(#[source] Option<windlass_store::Error>),
    /// Our fault.
    #[error("something went wrong on our side; the request id finds it in the log")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Every problem's code, status and title, for the page of problems in docs/.
pub const CATALOGUE: &[(&str, u16, &str)] = &[
    ("malformed", 400, "The request cannot be read"),
    ("invalid", 400, "Fields are wrong"),
    ("not-offered", 422, "Not offered by this version"),
    ("unauthorized", 401, "No key, or a wrong one"),
    ("forbidden", 403, "Not allowed with this key"),
    ("not-found", 404, "Not there"),
    ("method-not-allowed", 405, "Method not allowed"),
    ("too-slow", 408, "The body did not come"),
    ("conflict", 409, "Clashes with what is there"),
    ("stale", 412, "Changed since it was read"),
    ("too-large", 413, "Too large"),
    (
        "unsupported-media",
        415,
        "Content type or encoding not taken",
    ),
    ("too-many-requests", 429, "Too many requests"),
    ("unavailable", 503, "The store does not answer"),
    ("internal", 500, "Our fault"),
];

impl Problem {
    /// The code in its `type`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::NotOffered(_) => "not-offered",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not-found",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::TooSlow(_) => "too-slow",
            Self::Conflict(_) => "conflict",
            Self::Stale(_) => "stale",
            Self::TooLarge(_) => "too-large",
            Self::UnsupportedMedia(_) => "unsupported-media",
            Self::TooMany(_) => "too-many-requests",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    fn entry(&self) -> (&'static str, u16, &'static str) {
        let code = self.code();
        // Every code is in the catalogue: tested below.
        CATALOGUE
            .iter()
            .copied()
            .find(|(known, ..)| *known == code)
            .unwrap_or((code, 500, "Our fault"))
    }

    /// The body that is sent.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        let (code, status, title) = self.entry();
        let errors = match self {
            Self::Invalid(fields) | Self::NotOffered(fields) => fields.clone(),
            _ => Vec::new(),
        };
        ProblemBody {
            kind: format!("urn:windlass:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: Some(self.to_string()),
            errors,
            request_id: None,
        }
    }

    /// Anything unexpected, to be logged once and answered as our fault.
    #[must_use]
    pub fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<windlass_store::Error> for Problem {
    fn from(error: windlass_store::Error) -> Self {
        if error.is_transient() {
            Self::Unavailable(Some(error))
        } else {
            Self::internal(error)
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.entry().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = self.body();
        match self {
            Self::Internal(error) => {
                let id = uuid::Uuid::now_v7().to_string();
                tracing::error!(request.id = %id, error = %chain(&**error), "a request failed");
                body.request_id = Some(id);
            }
            Self::Unavailable(Some(error)) => {
                tracing::warn!(error = %chain(error), "the store does not answer");
            }
            _ => {}
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::TooMany(seconds) => {
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Self::Unavailable(_) => {
                response.insert_header((header::RETRY_AFTER, "2"));
            }
            Self::Unauthorized(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, allowed.clone()));
            }
            _ => {}
        }
        response
            .insert_header(ContentType(
                "application/problem+json".parse().unwrap_or(mime_json()),
            ))
            .json_body(&body)
    }
}

fn mime_json() -> actix_web::mime::Mime {
    actix_web::mime::APPLICATION_JSON
}

trait JsonBody {
    fn json_body(&mut self, body: &ProblemBody) -> HttpResponse;
}

impl JsonBody for actix_web::HttpResponseBuilder {
    fn json_body(&mut self, body: &ProblemBody) -> HttpResponse {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body(bytes),
            Err(_) => self.finish(),
        }
    }
}

/// An error and what it came from, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_in_the_catalogue() {
        let text = String::new;
        let all = [
            Problem::Malformed(text()),
            Problem::Invalid(vec![]),
            Problem::NotOffered(vec![]),
            Problem::Unauthorized(text()),
            Problem::Forbidden(text()),
            Problem::NotFound(text()),
            Problem::MethodNotAllowed(text()),
            Problem::TooSlow(30),
            Problem::Conflict(text()),
            Problem::Stale(text()),
            Problem::TooLarge(text()),
            Problem::UnsupportedMedia(text()),
            Problem::TooMany(1),
            Problem::Unavailable(None),
            Problem::internal(std::io::Error::other("x")),
        ];
        assert_eq!(all.len(), CATALOGUE.len());
        for problem in all {
            assert!(
                CATALOGUE.iter().any(|(code, ..)| *code == problem.code()),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn our_own_faults_show_no_internals() {
        let body = Problem::internal(std::io::Error::other("password is hunter2")).body();
        assert!(!serde_json::to_string(&body).unwrap().contains("hunter2"));
    }
}
