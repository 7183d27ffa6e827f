//! Calls that need something of the client first, on the wire of 2026-07-28.

use rmcp::{
    ErrorData, RoleServer,
    model::{InputRequest, InputRequiredResult, InputResponses, RequestStateCodec},
    service::RequestContext,
};
use tower_secrets::mcp::RequestStates;

use crate::fixture::WIRE;

/// How a state goes to the client and comes back.
#[derive(Clone)]
pub(crate) enum States {
    OfRmcp(RequestStateCodec),
    Ours(RequestStates),
}

pub(crate) enum Next {
    Ask(InputRequiredResult),
    Done(String),
}

impl States {
    pub(crate) fn of_rmcp() -> Self {
        let key = *b"a fixture keeps no secret at all";
        Self::OfRmcp(RequestStateCodec::try_new(key).unwrap())
    }

    /// What the tool or prompt of this name does next. It is one that is in the table of rounds.
    pub(crate) fn next(
        &self,
        name: &str,
        responses: Option<InputResponses>,
        state: Option<String>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Next, ErrorData> {
        let rounds = &WIRE.rounds[name];
        let stateful = WIRE.stateful.iter().any(|it| it == name);
        let round = match &state {
            Some(sealed) if stateful => self.open(name, sealed, context)?,
            _ => 0,
        };
        let responses = responses.unwrap_or_default();
        let answered = |name: &String| responses.get(name).is_some_and(|it| it.is_object());
        let wanted = rounds.get(round).ok_or_else(no_such_round)?;
        let wanted: Vec<_> = wanted.iter().filter(|it| is_able(context, it)).collect();
        let (wanted, round) =
            if wanted.iter().any(|it| !answered(it)) || (stateful && state.is_none()) {
                (wanted, round)
            } else if let Some(wanted) = rounds.get(round + 1) {
                (wanted.iter().collect(), round + 1)
            } else {
                let answers = serde_json::to_string(&responses);
                return Ok(Next::Done(answers.unwrap_or_default()));
            };
        let state = stateful
            .then(|| self.seal(name, round, context))
            .transpose()?;
        let inputs = wanted
            .into_iter()
            .map(|it| (it.clone(), WIRE.inputs[it].clone()));
        let inputs = Some(inputs.collect());
        Ok(Next::Ask(InputRequiredResult::new(inputs, state)))
    }

    fn seal(
        &self,
        name: &str,
        round: usize,
        context: &RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        match self {
            Self::OfRmcp(codec) => codec
                .seal_json(&round)
                .map_err(|error| ErrorData::internal_error(error.to_string(), None)),
            Self::Ours(states) => states.seal(context, name, &round),
        }
    }

    fn open(
        &self,
        name: &str,
        sealed: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<usize, ErrorData> {
        match self {
            Self::OfRmcp(codec) => codec
                .open_json(sealed)
                .map_err(|_| ErrorData::invalid_params("the request state is not ours", None)),
            Self::Ours(states) => states.open(context, name, sealed),
        }
    }
}

/// Whether the client said that it can give this.
fn is_able(context: &RequestContext<RoleServer>, input: &str) -> bool {
    let client = context.client_capabilities().unwrap_or_default();
    match WIRE.inputs[input] {
        InputRequest::Elicitation(_) => client.elicitation.is_some(),
        InputRequest::CreateMessage(_) => client.sampling.is_some(),
        InputRequest::ListRoots(_) => client.roots.is_some(),
        _ => false,
    }
}

fn no_such_round() -> ErrorData {
    ErrorData::invalid_params("there is no such round", None)
}
