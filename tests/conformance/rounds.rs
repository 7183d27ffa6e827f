//! Calls that need something of the client first, on the wire of 2026-07-28.

use std::sync::LazyLock;

use rmcp::{
    ErrorData, RoleServer,
    model::{InputRequest, InputRequiredResult, InputResponses, RequestStateCodec},
    service::RequestContext,
};

use crate::fixture::WIRE;

/// The state that goes to the client and back.
static CODEC: LazyLock<RequestStateCodec> =
    LazyLock::new(|| RequestStateCodec::try_new(*b"a fixture keeps no secret at all").unwrap());

pub(crate) enum Next {
    Ask(InputRequiredResult),
    Done(String),
}

/// What the tool or prompt of this name does next. It is one that is in the table of rounds.
pub(crate) fn next(
    name: &str,
    responses: Option<InputResponses>,
    state: Option<String>,
    context: &RequestContext<RoleServer>,
) -> Result<Next, ErrorData> {
    let rounds = &WIRE.rounds[name];
    let stateful = WIRE.stateful.iter().any(|it| it == name);
    let round = match &state {
        Some(sealed) if stateful => CODEC
            .open_json(sealed)
            .map_err(|_| ErrorData::invalid_params("the request state is not ours", None))?,
        _ => 0,
    };
    let responses = responses.unwrap_or_default();
    let answered = |name: &String| responses.get(name).is_some_and(|it| it.is_object());
    let wanted = rounds.get(round).ok_or_else(no_such_round)?;
    let wanted: Vec<_> = wanted.iter().filter(|it| is_able(context, it)).collect();
    if wanted.iter().any(|it| !answered(it)) || (stateful && state.is_none()) {
        return ask(&wanted, stateful.then_some(round));
    }
    match rounds.get(round + 1) {
        Some(wanted) => ask(&wanted.iter().collect::<Vec<_>>(), Some(round + 1)),
        None => Ok(Next::Done(
            serde_json::to_string(&responses).unwrap_or_default(),
        )),
    }
}

fn ask(wanted: &[&String], round: Option<usize>) -> Result<Next, ErrorData> {
    let inputs = wanted
        .iter()
        .map(|name| (name.to_string(), WIRE.inputs[*name].clone()));
    let state = round.map(|round| CODEC.seal_json(&round)).transpose();
    let state = state.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    Ok(Next::Ask(InputRequiredResult::new(
        Some(inputs.collect()),
        state,
    )))
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
