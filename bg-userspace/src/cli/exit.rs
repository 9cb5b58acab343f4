//! Exit codes, and failures on their way to one.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::api::{
    client::ClientError,
    types::{Code, Error},
};

/// How a command went. Scripts depend on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Error = 1,
    Usage = 2,
    Refused = 3,
    WaitEnded = 4,
    RolledBack = 5,
    NoAgent = 6,
    NoSuchThing = 7,
    OutRun = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: for people, for scripts, and as a number.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) next: Option<String>,
    /// The `error` object.
    pub(super) json: Value,
}

impl Failure {
    /// Something went wrong on this side of the socket.
    pub(super) fn local(message: &str) -> Self {
        Self::new(Exit::Error, "internal", message, None)
    }

    pub(super) fn new(exit: Exit, code: &str, message: &str, next: Option<String>) -> Self {
        let json = json!({
            "code": code,
            "guard": null,
            "message": message,
            "next": next,
            "retry_after_s": null,
        });
        Self { exit, message: message.to_owned(), next, json }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (message, next) = (error.to_string(), error.next());
        match error {
            ClientError::NoAgent { .. } => Self::new(Exit::NoAgent, "no_agent", &message, next),
            ClientError::Denied(_) => Self::new(Exit::Error, "forbidden", &message, next),
            ClientError::Broken { .. } => Self::new(Exit::Error, "internal", &message, next),
            ClientError::Refused(error) => Self { exit: exit_of(&error), message, next, json: json!(error) },
        }
    }
}

const fn exit_of(error: &Error) -> Exit {
    match error.code {
        Code::Guard => Exit::Refused,
        Code::Conflict => Exit::OutRun,
        Code::NotFound => Exit::NoSuchThing,
        Code::BadRequest => Exit::Usage,
        Code::TooLarge | Code::Timeout | Code::Forbidden | Code::Internal => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code) -> Exit {
        let error = Error { code, guard: None, message: "no".to_owned(), next: None, retry_after_s: None };
        Failure::from(ClientError::from(error)).exit
    }

    #[test]
    fn refusals_have_the_documented_exit_codes() {
        assert_eq!(refused(Code::Guard) as u8, 3);
        assert_eq!(refused(Code::Conflict) as u8, 8);
        assert_eq!(refused(Code::NotFound) as u8, 7);
        assert_eq!(refused(Code::BadRequest) as u8, 2);
        for code in [Code::TooLarge, Code::Timeout, Code::Forbidden, Code::Internal] {
            assert_eq!(refused(code) as u8, 1);
        }
    }
}
