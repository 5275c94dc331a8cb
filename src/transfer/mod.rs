//! Transfers of files between a CE and this machine.

pub(crate) mod outputs;
