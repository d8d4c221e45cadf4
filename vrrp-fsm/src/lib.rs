//! The VRRP election as a pure state machine.
//!
//! One [`VirtualRouter`] is one virtual router of one family on one interface: a plain `Copy` value that is stepped by events and
//! holds its own deadlines. It reads no clock, opens no socket, allocates nothing and does not panic. What has to be done
//! comes out as [`Action`] values, in the order in which it must be done.
//!
//! | to do this | use |
//! |---|---|
//! | configure | [`Config`], checked once by [`VirtualRouter::new`], [`ConfigError`] names the field |
//! | feed | [`VirtualRouter::handle_event`] with an [`Event`], [`VirtualRouter::handle_timeout`] |
//! | sleep | until [`VirtualRouter::poll_timeout`] |
//! | act | on each [`Action`] of the returned [`Actions`] |
//! | judge a packet | [`VirtualRouter::check`]: a packet that fails never becomes an event, so it cannot move a state or a timer |
//! | change while running | [`VirtualRouter::reconfigure`], [`Event::EffectivePriority`], [`Event::PrimaryAddress`], [`Event::AddressesChanged`] |
//! | look | [`VirtualRouter::state`], [`VirtualRouter::skew_time`], [`VirtualRouter::counters`] and the other getters: what they show is what the timers use |
//! | hand over to another process | [`VirtualRouter::snapshot`], [`VirtualRouter::restore`] |
