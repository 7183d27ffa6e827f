//! The JSON that Secrets Manager writes for databases.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

/// A database's credentials in the form of the AWS page *JSON structure of AWS Secrets Manager
/// secrets*, as the console, the rotation functions and RDS write them.
///
/// Secrets that RDS manages by itself hold `username` and `password` alone; take the rest from
/// your configuration then. Other fields, such as `masterarn`, are ignored.
///
/// ```
/// use tower_secrets::source::aws::RdsSecret;
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let secret: RdsSecret = serde_json::from_str(
///     r#"{"engine":"postgres","host":"db.internal","port":"5432","username":"app","password":"p"}"#,
/// )?;
/// assert_eq!((secret.host(), secret.port()), (Some("db.internal"), Some(5432)));
/// # Ok(())
/// # }
/// ```
///
/// The password is redacted in `Debug` and wiped from memory when dropped. `Hash` and `Eq` are
/// there for [`Parts::reuse`](crate::Parts::reuse), so that a pool is built anew only when one of
/// these fields changes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct RdsSecret {
    username: String,
    #[serde(deserialize_with = "wiped")]
    password: Zeroizing<String>,
    host: Option<String>,
    #[serde(default, deserialize_with = "number_or_text")]
    port: Option<u16>,
    dbname: Option<String>,
    engine: Option<String>,
}

impl RdsSecret {
    /// The user.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password itself. Handle with care: nothing redacts it.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's name or address.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The server's port, written as a number or as text.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The database.
    #[must_use]
    pub fn dbname(&self) -> Option<&str> {
        self.dbname.as_deref()
    }

    /// The kind of server, such as `postgres`.
    #[must_use]
    pub fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }
}

// `Zeroizing` has none.
impl Hash for RdsSecret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            username,
            password,
            host,
            port,
            dbname,
            engine,
        } = self;
        (username, password.as_str(), host, port, dbname, engine).hash(state);
    }
}

impl fmt::Debug for RdsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            password: _,
            host,
            port,
            dbname,
            engine,
        } = self;
        f.debug_struct("RdsSecret")
            .field("username", username)
            .field("password", &"[redacted]")
            .field("host", host)
            .field("port", port)
            .field("dbname", dbname)
            .field("engine", engine)
            .finish()
    }
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a port, as a number or as text")]
    enum Port {
        Number(u16),
        Text(String),
    }

    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Port::Number(port)) => Ok(Some(port)),
        Some(Port::Text(text)) => text
            .parse()
            .map(Some)
            .map_err(|_| de::Error::custom("the text is no port")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(json: &str) -> serde_json::Result<RdsSecret> {
        serde_json::from_str(json)
    }

    #[test]
    fn as_rds_writes_it_by_itself() {
        let secret = read(r#"{"username":"admin","password":"a\"b"}"#).unwrap();
        assert_eq!((secret.username(), secret.password()), ("admin", "a\"b"));
        assert_eq!((secret.host(), secret.port()), (None, None));
        assert_eq!((secret.dbname(), secret.engine()), (None, None));
    }

    #[test]
    fn as_the_rotation_functions_write_it() {
        let json = |port: &str| {
            format!(
                r#"{{"engine":"postgres","host":"h","username":"u","password":"p",
                    "dbname":"d","port":{port},"masterarn":"arn:x","dbInstanceIdentifier":"i"}}"#
            )
        };
        let number = read(&json("5432")).unwrap();
        assert_eq!(number, read(&json("\"5432\"")).unwrap());
        assert_eq!(number.port(), Some(5432));
        assert_eq!((number.host(), number.dbname()), (Some("h"), Some("d")));
        assert_eq!(number.engine(), Some("postgres"));
        assert_eq!(read(&json("null")).unwrap().port(), None);
    }

    #[test]
    fn what_is_no_port_is_refused_without_being_quoted() {
        for port in ["65536", "-1", "\"hunter2\"", "\"\"", "5432.5", "{}"] {
            let json = format!(r#"{{"username":"u","password":"p","port":{port}}}"#);
            let error = read(&json).unwrap_err().to_string();
            assert!(
                error.contains("port") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(read(r#"{"username":"u"}"#).is_err());
    }

    #[test]
    fn debug_hides_the_password() {
        let secret = read(r#"{"username":"admin","password":"hunter2","port":1}"#).unwrap();
        let text = format!("{secret:?}");
        assert!(
            text.contains("admin") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
