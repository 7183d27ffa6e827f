//! The time that verifying a token adds to a request: tower-secrets beside its peers. See README.md.

pub mod keys;

pub mod tokens;

pub mod measure;

pub mod contenders;

pub mod proof;

pub mod report;

pub mod times;

pub mod threads;

pub mod previous;

pub mod allocations;

pub mod choices;

pub mod machine;
