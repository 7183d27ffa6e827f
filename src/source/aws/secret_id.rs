//! Which secret: a name or an ARN, checked before anything is asked.

use std::sync::Arc;

use crate::source::{SourceError, SourceErrorKind};

/// What Secrets Manager puts behind a secret's name in its ARN: a hyphen and this many characters.
const SUFFIX: usize = 6;

pub(super) struct SecretId {
    text: String,
    origin: Arc<str>,
}

impl SecretId {
    pub(super) fn new(text: String) -> Self {
        let origin = format!("aws:{text}").into();
        Self { text, origin }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// For errors about a document: where it came from.
    pub(super) fn origin(&self) -> Arc<str> {
        self.origin.clone()
    }

    /// Finds what would end in a misleading answer: AWS says of a partial ARN, or of one in
    /// another Region, that there is no such secret, or that access is denied.
    pub(super) fn check(&self, region: Option<&str>) -> Result<(), SourceError> {
        let refuse = |kind, why: String| {
            let message = format!("the secret id `{}` {why}", self.text);
            Err(SourceError::new(kind, message))
        };
        if self.text.is_empty() {
            return refuse(SourceErrorKind::InvalidRequest, "is empty".to_owned());
        }
        let Some(region) = region else {
            let why = "cannot be looked up: no Region is configured; set AWS_REGION, or the \
                       client's";
            return refuse(SourceErrorKind::InvalidRequest, why.to_owned());
        };
        if !self.text.starts_with("arn:") {
            return Ok(());
        }
        let Some(arn) = Arn::parse(&self.text) else {
            let why = "is no ARN of a secret: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-` \
                       and six characters";
            return refuse(SourceErrorKind::InvalidRequest, why.to_owned());
        };
        if !arn.is_full() {
            let why = "is a partial ARN: a full one ends in `-` and six characters that Secrets \
                       Manager chose; `aws secretsmanager describe-secret` shows it. In one's own \
                       account the name is enough";
            return refuse(SourceErrorKind::InvalidRequest, why.to_owned());
        }
        if arn.region != region {
            let why = format!("is in {}, and the client asks in {region}", arn.region);
            return refuse(SourceErrorKind::WrongRegion, why);
        }
        Ok(())
    }
}

struct Arn<'a> {
    region: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:RESOURCE`
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(7, ':');
        let ["arn", _, "secretsmanager", region, _, "secret", resource] =
            std::array::from_fn(|_| parts.next().unwrap_or_default())
        else {
            return None;
        };
        Some(Self { region, resource })
    }

    fn is_full(&self) -> bool {
        let Some((name, suffix)) = self.resource.rsplit_once('-') else {
            return false;
        };
        !name.is_empty()
            && suffix.len() == SUFFIX
            && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(id: &str) -> Result<(), SourceError> {
        SecretId::new(id.to_owned()).check(Some("eu-west-1"))
    }

    #[test]
    fn names_and_full_arns_pass() {
        for id in [
            "mcp/jwt-secret",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-secret-a1B2c3",
            "arn:aws-cn:secretsmanager:eu-west-1:123456789012:secret:x-ABCDEF",
        ] {
            assert!(check(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn what_aws_would_answer_misleadingly_is_refused() {
        for id in [
            "",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-key",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:-a1B2c3",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-a1B2c_",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:",
            "arn:aws:secretsmanager:eu-west-1:123456789012:other:x-a1B2c3",
            "arn:aws:ssm:eu-west-1:123456789012:parameter/x-a1B2c3",
            "arn:",
        ] {
            let error = check(id).unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::InvalidRequest, "{id}");
        }
        let partial = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/jwt-key";
        let text = check(partial).unwrap_err().to_string();
        assert!(text.contains("partial ARN"), "{text}");
        assert!(text.contains(partial), "{text}");
    }

    #[test]
    fn another_region_is_told_with_both() {
        let id = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-a1B2c3";
        let error = check(id).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::WrongRegion);
        let text = error.to_string();
        assert!(
            text.contains("us-east-1") && text.contains("eu-west-1"),
            "{text}"
        );
        let error = SecretId::new("x".to_owned()).check(None).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::InvalidRequest);
    }
}
