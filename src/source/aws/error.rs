//! What went wrong with a call, in the words of [`SourceErrorKind`].
//!
//! The SDK's error is not passed on: its `Debug` shows the raw answer, which may hold the value.

use std::{error::Error, fmt, iter};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use crate::source::{SourceError, SourceErrorKind, error::one_line};

/// The longest text of AWS that is passed on, in characters.
const LONGEST: usize = 400;

/// What AWS said, as it is told.
pub(super) fn told(text: &str) -> String {
    one_line(text, LONGEST)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Describe,
    GetValue,
}

impl Action {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "DescribeSecret",
            Self::GetValue => "GetSecretValue",
        }
    }
}

/// Which call it was.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) action: Action,
    pub(super) secret: &'a str,
    /// The version id or label that was asked for.
    pub(super) version: Option<&'a str>,
    pub(super) region: Option<&'a str>,
}

impl Call<'_> {
    pub(super) fn error(&self, kind: SourceErrorKind, why: impl fmt::Display) -> SourceError {
        SourceError::new(kind, format!("{self}: {why}"))
    }

    pub(super) fn failed<E>(&self, error: &SdkError<E>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (kind, why) = match error {
            // What could not be understood counts as an error of AWS too, with no code.
            SdkError::ServiceError(context) if !context.raw().status().is_success() => {
                let status = context.raw().status().as_u16();
                return self.answered(context.err(), status, error.request_id());
            }
            SdkError::TimeoutError(_) => (SourceErrorKind::TimedOut, chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => {
                (SourceErrorKind::TimedOut, chain(error))
            }
            SdkError::DispatchFailure(_) if concerns_identity(error) => {
                (SourceErrorKind::Unauthenticated, chain(error))
            }
            SdkError::DispatchFailure(failure) if !failure.is_user() => {
                (SourceErrorKind::Unavailable, chain(error))
            }
            // The texts below these may quote the answer.
            SdkError::ServiceError(_) | SdkError::ResponseError(_) => (
                SourceErrorKind::Unavailable,
                "the answer was cut off, or is none of Secrets Manager".to_owned(),
            ),
            _ => (SourceErrorKind::Other, chain(error)),
        };
        self.error(kind, why)
    }

    /// AWS answered with an error.
    fn answered(
        &self,
        error: &impl ProvideErrorMetadata,
        status: u16,
        request_id: Option<&str>,
    ) -> SourceError {
        let code = error.code().unwrap_or("no error code");
        let message = error.message().unwrap_or_default();
        let kind = kind_of(code, message, status);
        let why = match kind {
            SourceErrorKind::NotFound => {
                let region = self.region.unwrap_or("this Region");
                format!("not found in {region}; is it in another Region or account?")
            }
            SourceErrorKind::PermissionDenied => {
                format!(
                    "access denied; `secretsmanager:{}` is needed",
                    self.action.as_str()
                )
            }
            SourceErrorKind::Unauthenticated => "the caller's identity was refused".to_owned(),
            SourceErrorKind::DecryptionFailed => {
                "the value could not be decrypted; `kms:Decrypt` on the secret's key is needed"
                    .to_owned()
            }
            SourceErrorKind::Deleted => "the secret is marked for deletion".to_owned(),
            SourceErrorKind::WrongRegion => "the request was signed for another Region".to_owned(),
            SourceErrorKind::Throttled => "AWS asks for fewer calls".to_owned(),
            _ => format!("refused with status {status}"),
        };
        let request_id = told(request_id.unwrap_or("none"));
        let mut text = format!("{why} ({}, request id {request_id})", told(code));
        if may_be_told(kind) && !message.is_empty() {
            text.push_str(": ");
            text.push_str(&told(message));
        }
        self.error(kind, text)
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            secret,
            version,
            region: _,
        } = self;
        write!(f, "{} of `{secret}`", action.as_str())?;
        match version {
            Some(version) => write!(f, " version `{}`", told(version)),
            None => Ok(()),
        }
    }
}

/// The rule for what AWS answers: Secrets Manager's own codes, those that all services share, and
/// at last the HTTP status.
fn kind_of(code: &str, message: &str, status: u16) -> SourceErrorKind {
    use SourceErrorKind as Kind;

    let message = message.to_ascii_lowercase();
    let says = |text: &str| message.contains(text);
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "SlowDown" => Kind::Throttled,

        // "Credential should be scoped to a valid region, not .."
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "AuthorizationHeaderMalformed"
            if says("valid region") =>
        {
            Kind::WrongRegion
        }

        "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AuthFailure" => Kind::Unauthenticated,

        "DecryptionFailure" => Kind::DecryptionFailed,
        _ if code.starts_with("KMS") => Kind::DecryptionFailed,
        "AccessDeniedException" | "AccessDenied" if says("access to kms") || says("kms:") => {
            Kind::DecryptionFailed
        }
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
            Kind::PermissionDenied
        }

        "ResourceNotFoundException" => Kind::NotFound,
        "InvalidRequestException" if says("deletion") || says("deleted") => Kind::Deleted,
        "InvalidRequestException"
        | "InvalidParameterException"
        | "ValidationException"
        | "ValidationError" => Kind::InvalidRequest,

        "InternalServiceError" | "InternalFailure" | "ServiceUnavailable" => Kind::Unavailable,
        _ => match status {
            429 => Kind::Throttled,
            408 => Kind::TimedOut,
            500.. => Kind::Unavailable,
            _ => Kind::Other,
        },
    }
}

/// AWS's own words, where they help. Those on a signature repeat the request, with its session
/// token.
fn may_be_told(kind: SourceErrorKind) -> bool {
    matches!(
        kind,
        SourceErrorKind::PermissionDenied
            | SourceErrorKind::DecryptionFailed
            | SourceErrorKind::InvalidRequest
    )
}

/// Whether credentials could not be loaded, or there is nothing to load them with.
fn concerns_identity(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        // These two of the SDK are private to it.
        let private = || {
            let text = cause.to_string();
            text.starts_with("identity resolver timed out")
                || text.starts_with("failed to select an auth scheme")
        };
        cause.is::<CredentialsError>() || private()
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// What went wrong on our side, from the outermost to the innermost cause.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in causes(error).map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        use SourceErrorKind as Kind;

        let user = "User: arn:aws:iam::123456789012:user/kms is not authorized to perform: \
                    secretsmanager:GetSecretValue on resource: kms-secret";
        for (code, message, status, kind) in [
            ("ThrottlingException", "Rate exceeded", 400, Kind::Throttled),
            ("TooManyRequestsException", "", 429, Kind::Throttled),
            ("LimitExceededException", "", 400, Kind::Throttled),
            ("", "", 429, Kind::Throttled),
            ("ExpiredTokenException", "", 400, Kind::Unauthenticated),
            (
                "UnrecognizedClientException",
                "",
                400,
                Kind::Unauthenticated,
            ),
            ("InvalidClientTokenId", "", 403, Kind::Unauthenticated),
            ("InvalidSignatureException", "", 400, Kind::Unauthenticated),
            (
                "InvalidSignatureException",
                "Credential should be scoped to a valid region, not 'us-east-1'.",
                400,
                Kind::WrongRegion,
            ),
            ("DecryptionFailure", "", 400, Kind::DecryptionFailed),
            (
                "AccessDeniedException",
                "Access to KMS is not allowed",
                400,
                Kind::DecryptionFailed,
            ),
            (
                "AccessDeniedException",
                "User x is not authorized to perform: kms:Decrypt on this resource",
                400,
                Kind::DecryptionFailed,
            ),
            ("AccessDeniedException", user, 400, Kind::PermissionDenied),
            ("ResourceNotFoundException", "", 400, Kind::NotFound),
            (
                "InvalidRequestException",
                "You can't perform this operation on the secret because it was marked for \
                 deletion.",
                400,
                Kind::Deleted,
            ),
            (
                "InvalidRequestException",
                "Managed elsewhere",
                400,
                Kind::InvalidRequest,
            ),
            ("InvalidParameterException", "", 400, Kind::InvalidRequest),
            ("ValidationException", "", 400, Kind::InvalidRequest),
            ("InternalServiceError", "", 500, Kind::Unavailable),
            ("", "", 503, Kind::Unavailable),
            ("", "", 408, Kind::TimedOut),
            ("NobodyKnowsException", "", 400, Kind::Other),
        ] {
            assert_eq!(kind_of(code, message, status), kind, "{code} {message}");
        }
    }
}
