//! What JSON-RPC messages ask for, read from a body.
//!
//! A server reads the same bytes after us, perhaps in another way. So nothing is guessed: what it could
//! read differently, such as a member that is there twice or a name that is no text, is an error.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::{Deserializer, error::Category, value::RawValue};

/// What a message names besides its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Tool(&'a str),
    Prompt(&'a str),
    Resource(&'a str),
}

/// What messages of a method name, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `params.name`. In this and the next two, `Mcp-Name` too, from MCP 2026-07-28 on.
    Tool,
    /// `params.name`.
    Prompt,
    /// `params.uri`.
    Resource,
    /// `params.uri`, of extensions: in the body alone.
    Directory,
    /// A prompt or a resource template: `params.ref`.
    Reference,
    /// Resources: `params.notifications`.
    Filter,
    /// Nothing that a policy is about.
    Nothing,
}

impl Names {
    pub(super) fn of(method: &str) -> Self {
        match method {
            "tools/call" => Self::Tool,
            "prompts/get" => Self::Prompt,
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Self::Resource,
            "resources/directory/read" | "skills/get" => Self::Directory,
            "completion/complete" => Self::Reference,
            "subscriptions/listen" => Self::Filter,
            _ => Self::Nothing,
        }
    }

    /// What this is a name of; `None` where no single name says it.
    pub(super) fn target(self, name: &str) -> Option<Target<'_>> {
        match self {
            Self::Tool => Some(Target::Tool(name)),
            Self::Prompt => Some(Target::Prompt(name)),
            Self::Resource | Self::Directory => Some(Target::Resource(name)),
            Self::Reference | Self::Filter | Self::Nothing => None,
        }
    }
}

/// A request, a notification, or a response, which has no method.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Text that is borrowed where nothing in it is escaped.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A body that is not read, for one reason or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Json,
    Message,
    Params,
}

/// Looks at each message of a body: at one, or at those of a batch (JSON-RPC 2.0 section 6). Gives the JSON
/// of the message's id, where there is one message and it has a text or a number for an id.
pub(super) fn each_message<'a>(
    body: &'a [u8],
    mut see: impl FnMut(&Message<'a>) -> Result<(), Unreadable>,
) -> (Option<&'a str>, Result<(), Unreadable>) {
    let first = body
        .iter()
        .find(|c| !matches!(c, b' ' | b'\t' | b'\r' | b'\n'));
    match first {
        Some(b'{') => match serde_json::from_slice(body) {
            Ok(message) => (Message::id(&message), see(&message)),
            Err(error) => (None, Err(error.into())),
        },
        Some(b'[') => (None, each_of_batch(body, see)),
        _ => {
            let result = serde_json::from_slice::<&RawValue>(body);
            (
                None,
                Err(result.map_or_else(Into::into, |_| Unreadable::Message)),
            )
        }
    }
}

fn each_of_batch<'a>(
    body: &'a [u8],
    mut see: impl FnMut(&Message<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut seen = Err(Unreadable::Message);
    let mut results = Ok(());
    each(body, |raw: &RawValue| {
        let message = object(raw).ok_or(Unreadable::Message);
        let result = message.and_then(|message| see(&message));
        seen = Ok(());
        results = results.and(result);
    })?;
    seen.and(results)
}

impl<'a> Message<'a> {
    pub(super) fn method(&self) -> Option<&str> {
        self.method.as_ref().map(|method| &*method.0)
    }

    fn id(&self) -> Option<&'a str> {
        let id = self.id?.get();
        id.starts_with(|c: char| matches!(c, '"' | '-' | '0'..='9'))
            .then_some(id)
    }

    /// Looks at everything that the message names.
    pub(super) fn each_target(&self, see: impl FnMut(Target<'_>)) -> Result<(), Unreadable> {
        #[derive(Deserialize)]
        struct ByName<'a> {
            #[serde(borrow)]
            name: Text<'a>,
        }
        #[derive(Deserialize)]
        struct ByUri<'a> {
            #[serde(borrow)]
            uri: Text<'a>,
        }

        let names = self.method().map_or(Names::Nothing, Names::of);
        let name = match names {
            Names::Nothing => return Ok(()),
            Names::Reference => return self.reference(see),
            Names::Filter => return self.filter(see),
            Names::Tool | Names::Prompt => self.params::<ByName<'_>>()?.name,
            Names::Resource | Names::Directory => self.params::<ByUri<'_>>()?.uri,
        };
        names.target(&name.0).into_iter().for_each(see);
        Ok(())
    }

    fn reference(&self, mut see: impl FnMut(Target<'_>)) -> Result<(), Unreadable> {
        #[derive(Deserialize)]
        struct ByReference<'a> {
            #[serde(borrow, rename = "ref")]
            reference: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Reference<'a> {
            #[serde(borrow, rename = "type")]
            kind: Text<'a>,
            #[serde(borrow)]
            name: Option<Text<'a>>,
            #[serde(borrow)]
            uri: Option<Text<'a>>,
        }

        let reference = self.params::<ByReference<'_>>()?.reference;
        let Reference { kind, name, uri } = object(reference).ok_or(Unreadable::Params)?;
        match (&*kind.0, name, uri) {
            ("ref/prompt", Some(name), _) => see(Target::Prompt(&name.0)),
            ("ref/resource", _, Some(uri)) => see(Target::Resource(&uri.0)),
            _ => return Err(Unreadable::Params),
        }
        Ok(())
    }

    fn filter(&self, mut see: impl FnMut(Target<'_>)) -> Result<(), Unreadable> {
        #[derive(Deserialize)]
        struct ByFilter<'a> {
            #[serde(borrow)]
            notifications: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Filter<'a> {
            #[serde(borrow)]
            resource_subscriptions: Option<&'a RawValue>,
        }

        let filter = self.params::<ByFilter<'_>>()?.notifications;
        let filter: Filter<'_> = object(filter).ok_or(Unreadable::Params)?;
        match filter.resource_subscriptions {
            Some(uris) => each(uris.get().as_bytes(), |uri: Text<'_>| {
                see(Target::Resource(&uri.0));
            })
            .map_err(|_| Unreadable::Params),
            None => Ok(()),
        }
    }

    fn params<P: Deserialize<'a>>(&self) -> Result<P, Unreadable> {
        self.params.and_then(object).ok_or(Unreadable::Params)
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            Category::Data => Self::Message,
            Category::Syntax | Category::Eof | Category::Io => Self::Json,
        }
    }
}

/// Serde's structs are read from arrays too, in which members have no names. Not here; see
/// [`Message::reference`] for how rmcp does.
fn object<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    let json = json.get();
    json.starts_with('{')
        .then(|| serde_json::from_str(json).ok())?
}

/// Looks at each element of an array, and holds none.
fn each<'a, T: Deserialize<'a>>(json: &'a [u8], see: impl FnMut(T)) -> serde_json::Result<()> {
    struct Each<T, F>(F, PhantomData<T>);

    impl<'a, T: Deserialize<'a>, F: FnMut(T)> Visitor<'a> for Each<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(mut self, mut array: A) -> Result<(), A::Error> {
            while let Some(element) = array.next_element()? {
                (self.0)(element);
            }
            Ok(())
        }
    }

    let mut json = Deserializer::from_slice(json);
    json.deserialize_seq(Each(see, PhantomData))?;
    json.end()
}
