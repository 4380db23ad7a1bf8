//! What a puller is given at `/federate`: selection, one consistent instant, encoding. `http` serves
//! it.
//!
//! A plain request gets what Prometheus gives: the newest sample of every selected series that has
//! not ended, with its time, external labels where they are absent, and `instance=""` where that is
//! absent. Unlike there, all series are seen at one instant, and families keep the type that their
//! source gave them.
//!
//! With `resync=NAME` a puller gets every sample since what it was last given, so that an outage
//! leaves no hole at the central. A puller's cursor moves once it has certainly read a reply.

// What is selected, and how it is written.
mod page;
mod selection;

// Resync: every sample since what a puller was last given.
mod connection;
mod cursor;
mod cursor_store;
mod resync;

pub use connection::{ConnectionFacts, ConnectionId};
pub use cursor::{Progress, RESYNC_BYTES_MAX, Receipt, ResyncOrder};
pub use cursor_store::{CursorError, CursorRecord, CursorStore, KeptCursors};
pub use page::FederationPage;
pub use resync::{
    PullerStatus, RESYNC_AGE_MAX, RESYNC_NAME_CHARS_MAX, RESYNC_PULLERS_MAX, RESYNC_SAMPLES_MAX, ResyncError,
    ResyncRequest,
};
pub use selection::{Federation, FederationError, FederationRequest};
