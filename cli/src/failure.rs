//! How a command ends when it does not end well.

use std::fmt;

/// A failure as the user sees it: what happened, perhaps what to do, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    status: u8,
}

impl Failure {
    /// Exit status of a command that failed.
    pub(crate) const FAILED: u8 = 1;
    /// Exit status of wrong usage.
    pub(crate) const USAGE: u8 = 2;
    /// Exit status when a gate or a verification said no.
    pub(crate) const REFUSED: u8 = 3;
    /// Exit status after Ctrl-C, as shells expect it.
    pub(crate) const INTERRUPTED: u8 = 130;

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, status: Self::FAILED }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = (!hint.is_empty()).then_some(hint);
        self
    }

    pub(crate) fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// What happened, without what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn exit_status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<mdl_formats::Error> for Failure {
    fn from(error: mdl_formats::Error) -> Self {
        mdl_quant::Error::from(error).into()
    }
}

impl From<mdl_quant::Error> for Failure {
    fn from(error: mdl_quant::Error) -> Self {
        let status = match error {
            mdl_quant::Error::Interrupted => Self::INTERRUPTED,
            mdl_quant::Error::Usage { .. } => Self::USAGE,
            _ => Self::FAILED,
        };
        let hint = error.hint().unwrap_or_default().to_owned();
        Self::new(error.to_string()).hint(hint).status(status)
    }
}

impl From<mdl_infer::Error> for Failure {
    fn from(error: mdl_infer::Error) -> Self {
        mdl_quant::Error::from(error).into()
    }
}

impl From<mdl_artifact::Error> for Failure {
    fn from(error: mdl_artifact::Error) -> Self {
        let hint = error.hint().unwrap_or_default().to_owned();
        match error {
            mdl_artifact::Error::Formats(error) => error.into(),
            error @ mdl_artifact::Error::Reference { .. } => {
                Self::new(error.to_string()).hint(hint).status(Self::USAGE)
            }
            error => Self::new(error.to_string()).hint(hint),
        }
    }
}

impl From<mdl_store::Error> for Failure {
    fn from(error: mdl_store::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<mdl_client::Error> for Failure {
    fn from(error: mdl_client::Error) -> Self {
        let status = match error {
            mdl_client::Error::Interrupted => Self::INTERRUPTED,
            _ => Self::FAILED,
        };
        let hint = error.hint().unwrap_or_default().to_owned();
        Self::new(error.to_string()).hint(hint).status(status)
    }
}

impl From<mdl_server::Error> for Failure {
    fn from(error: mdl_server::Error) -> Self {
        let status = if error.is_usage() { Self::USAGE } else { Self::FAILED };
        Self::new(error.to_string()).hint(error.hint().unwrap_or_default()).status(status)
    }
}
