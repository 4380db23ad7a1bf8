//! The envelope around the API's data: `status`, `data`, `warnings`, `infos`, or the error.

use hyper::StatusCode;

use crate::http::json::Json;
use crate::http::reply::{Pieces, Reply};

use super::error::ApiError;

/// The content type of every answer.
const JSON: &str = "application/json";

/// The most warnings, and the most infos, that one answer carries.
const NOTES_MAX: usize = 10;

const OPENING: &str = r#"{"status":"success","data":"#;

/// What an endpoint answers.
pub(crate) struct Answer {
    data: Option<Data>,
    notes: Notes,
}

enum Data {
    Ready(Json),
    Pieces(Box<dyn Pieces>),
}

/// What may be wrong with the data, and what may be worth knowing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Notes {
    /// The note that a `limit` has cut something off.
    pub(crate) fn truncated() -> Self {
        Self { warnings: vec!["results truncated due to limit".to_owned()], infos: Vec::new() }
    }
}

impl Answer {
    /// Data that is written at once.
    pub(crate) fn data(body: impl FnOnce(&mut Json)) -> Self {
        let mut json = Json::continuing(OPENING.as_bytes().to_vec(), false);
        body(&mut json);
        Self { data: Some(Data::Ready(json)), notes: Notes::default() }
    }

    /// Data that is written while the client takes it.
    pub(crate) fn pieces(pieces: Box<dyn Pieces>) -> Self {
        Self { data: Some(Data::Pieces(pieces)), notes: Notes::default() }
    }

    /// Neither data nor error.
    pub(crate) fn nothing() -> Self {
        Self { data: None, notes: Notes::default() }
    }

    pub(crate) fn with_notes(self, notes: Notes) -> Self {
        Self { notes, ..self }
    }

    pub(crate) fn into_reply(self) -> Reply {
        match self.data {
            None => Reply::no_content(),
            Some(Data::Ready(mut json)) => {
                push_closing(&mut json, &self.notes);
                Reply::new(StatusCode::OK, JSON, json.into_bytes())
            }
            Some(Data::Pieces(pieces)) => {
                Reply::streamed(JSON, Box::new(Envelope { state: State::Opening, pieces, notes: self.notes }))
            }
        }
    }
}

/// The reply for an error.
pub(crate) fn error(error: &ApiError) -> Reply {
    let mut json = Json::new();
    json.object(|json| {
        json.key("status").string("error");
        json.key("errorType").string(error.error_type());
        json.key("error").string(error.message());
    });
    Reply::new(error.status(), JSON, json.into_bytes())
}

fn push_closing(json: &mut Json, notes: &Notes) {
    for (name, kind, texts) in [("warnings", "warning", &notes.warnings), ("infos", "info", &notes.infos)] {
        if texts.is_empty() {
            continue;
        }
        let more = texts.len().saturating_sub(NOTES_MAX);
        let last = (more > 0).then(|| format!("{more} more {kind} annotations omitted"));
        json.key(name).strings(texts.iter().take(NOTES_MAX).chain(last.as_ref()));
    }
    json.punctuation("}", true);
}

#[derive(Clone, Copy)]
enum State {
    Opening,
    Data,
    Closing,
}

/// The envelope around data that comes in pieces.
struct Envelope {
    state: State,
    pieces: Box<dyn Pieces>,
    notes: Notes,
}

impl Pieces for Envelope {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        match self.state {
            State::Opening => {
                out.extend_from_slice(OPENING.as_bytes());
                self.state = State::Data;
                self.next(out)
            }
            State::Data => {
                if !self.pieces.next(out) {
                    self.state = State::Closing;
                }
                true
            }
            State::Closing => {
                let mut json = Json::continuing(std::mem::take(out), true);
                push_closing(&mut json, &self.notes);
                *out = json.into_bytes();
                false
            }
        }
    }
}
