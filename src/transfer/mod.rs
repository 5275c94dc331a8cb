//! Files between a CE and this machine.

pub(crate) mod outputs;
