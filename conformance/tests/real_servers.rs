//! Debian's Dovecot and everyday mail clients on the two sides of the `gatepost` program.
//!
//! The same checks run twice: straight at Dovecot (`direct`), which shows that the checks and the
//! rig are right, and through the proxy (`proxied`), which is what they are for. What needs the
//! proxy to make sense (routing, outages, certificates of backends) has no direct twin. Without a
//! server or a client program a test says that it was skipped; `GATEPOST_REQUIRE_SERVERS=1` makes
//! that a failure. The stage on which all of it happens is real/stage.rs.

#![allow(clippy::unwrap_used)]

mod real;

/// Makes a test of every check, on one path.
macro_rules! checks {
    ($path:expr; $($module:ident::$name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                crate::real::$module::$name($path);
            }
        )*
    };
}

mod direct {
    use crate::real::stage::Path;

    checks! { Path::Direct;
        clients::imaplib_logs_in_appends_fetches_and_searches,
        clients::curl_appends_lists_and_fetches,
        clients::mbsync_pulls_and_pushes,
        clients::a_message_of_50_mib_goes_up_and_comes_down_unchanged,
        sessions::idle_is_told_of_a_message_that_another_session_appends,
        sessions::five_hundred_sessions_at_once,
        sessions::a_wrong_password_is_refused_and_the_right_one_then_accepted,
        sessions::a_password_of_odd_characters_arrives_as_it_is,
        sessions::commands_pipelined_behind_the_login_are_answered_in_order,
        identity::the_log_shows_where_a_client_connects_from,
    }
}

mod proxied {
    use crate::real::stage::Path;

    checks! { Path::Proxied;
        clients::imaplib_logs_in_appends_fetches_and_searches,
        clients::curl_appends_lists_and_fetches,
        clients::mbsync_pulls_and_pushes,
        clients::a_message_of_50_mib_goes_up_and_comes_down_unchanged,
        sessions::idle_is_told_of_a_message_that_another_session_appends,
        sessions::five_hundred_sessions_at_once,
        sessions::a_wrong_password_is_refused_and_the_right_one_then_accepted,
        sessions::a_password_of_odd_characters_arrives_as_it_is,
        sessions::commands_pipelined_behind_the_login_are_answered_in_order,
        identity::the_log_shows_where_a_client_connects_from,
        identity::without_forwarding_the_log_shows_the_proxy,
        routing::two_users_reach_two_servers,
        routing::after_a_refusal_another_account_reaches_its_own_server,
        routing::an_unreachable_server_is_temporary_and_the_connection_stays,
        routing::a_session_ends_with_its_server,
        routing::only_the_expected_certificate_gets_credentials,
    }
}
