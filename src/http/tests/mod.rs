//! The server over real sockets: what it answers, and what it does with hostile clients.

mod api;
mod federate;
mod hostile;
mod site;
