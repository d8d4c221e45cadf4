//! The lists of the program `ipvsadm`.

pub mod connections;
pub mod list;
pub mod names;
