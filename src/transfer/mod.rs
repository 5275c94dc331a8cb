//! Transfers of files between a CE and this machine.

mod directory;
pub(crate) mod outputs;
