//! Transfers of files between a CE and this machine.

pub(crate) mod directory;
pub(crate) mod fetch;
mod place;
pub(crate) mod select;
