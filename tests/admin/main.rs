//! The operator's page and what is behind it, asked as a client asks.

mod answers;
mod bind;
mod browser;
mod guards;
mod orders;
mod world;
