//! Stories across the services, over the wire, and the rules that no single crate can hold. A story
//! knows what a caller knows; only recounts look into the tables.

mod access;
mod bad_input;
mod branches;
mod clients;
mod contract;
mod counting;
mod faults;
mod house;
mod importing;
mod incidents;
mod insight;
mod items;
mod onboarding;
mod operations;
mod previews;
mod processes;
mod revocation;
mod running;
mod schedules;
mod starts;
mod story;
mod streaming;
mod subworkflows;
