//! Transfers of files between a CE and this machine.

mod directory;
pub(crate) mod fetch;
mod place;
pub(crate) mod select;
