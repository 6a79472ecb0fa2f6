//! Debian's Dovecot and everyday mail clients on the two sides of the `gatepost` program.
//!
//! The same checks run twice: straight at Dovecot (`direct`), which shows that the checks and the
//! rig are right, and through the proxy (`proxied`), which is what they are for. What needs the
//! proxy to make sense (routing, outages, certificates of backends) has no direct twin. Without a
//! server or a client program a test says that it was skipped; `GATEPOST_REQUIRE_SERVERS=1` makes
//! that a failure. The stage on which all of it happens is real/stage.rs.

#![allow(clippy::unwrap_used)]

mod real;

/// Makes a test of every check, on one path, in a module for each subject.
macro_rules! checks {
    ($path:expr; $($module:ident { $($name:ident),* $(,)? })*) => {
        $(
            mod $module {
                use crate::real::stage::Path;

                $(
                    #[test]
                    fn $name() {
                        crate::real::$module::$name($path);
                    }
                )*
            }
        )*
    };
}

mod direct {
    checks! { Path::Direct;
        clients {
            imaplib_logs_in_appends_fetches_and_searches,
            curl_appends_lists_and_fetches,
            mbsync_pulls_and_pushes,
            a_message_of_50_mib_goes_up_and_comes_down_unchanged,
        }
        sessions {
            idle_is_told_of_a_message_that_another_session_appends,
            five_hundred_sessions_at_once,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            commands_pipelined_behind_the_login_are_answered_in_order,
        }
        identity {
            the_log_shows_where_a_client_connects_from,
        }
        pop3 {
            poplib_lists_retrieves_and_deletes,
            curl_lists_and_retrieves,
            fetchmail_pulls_into_a_file,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            commands_pipelined_behind_the_login_are_answered_in_order,
            the_log_shows_where_a_client_connects_from,
        }
        sieve {
            sieve_connect_uploads_activates_lists_and_fetches,
            a_script_is_stored_activated_listed_fetched_and_deleted,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            the_log_shows_where_a_client_connects_from,
        }
        submission {
            smtplib_submits_and_the_message_is_read_back,
            swaks_submits_and_the_message_is_read_back,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            nobody_submits_without_logging_in,
            only_who_has_logged_in_sends_elsewhere,
            the_logs_show_where_a_client_connects_from,
            a_script_files_what_is_submitted,
        }
        delivery {
            smtplib_delivers_over_smtp_and_lmtp,
            swaks_delivers_over_smtp_and_lmtp,
            starttls_is_between_client_and_backend,
        }
    }
}

mod proxied {
    checks! { Path::Proxied;
        clients {
            imaplib_logs_in_appends_fetches_and_searches,
            curl_appends_lists_and_fetches,
            mbsync_pulls_and_pushes,
            a_message_of_50_mib_goes_up_and_comes_down_unchanged,
        }
        sessions {
            idle_is_told_of_a_message_that_another_session_appends,
            five_hundred_sessions_at_once,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            commands_pipelined_behind_the_login_are_answered_in_order,
        }
        identity {
            the_log_shows_where_a_client_connects_from,
            without_forwarding_the_log_shows_the_proxy,
        }
        routing {
            two_users_reach_two_servers,
            after_a_refusal_another_account_reaches_its_own_server,
            an_unreachable_server_is_temporary_and_the_connection_stays,
            a_session_ends_with_its_server,
            only_the_expected_certificate_gets_credentials,
        }
        hosts {
            a_host_is_killed_under_load_and_comes_back,
            with_every_host_dead_clients_hear_of_an_outage,
        }
        pop3 {
            poplib_lists_retrieves_and_deletes,
            curl_lists_and_retrieves,
            fetchmail_pulls_into_a_file,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            commands_pipelined_behind_the_login_are_answered_in_order,
            the_log_shows_where_a_client_connects_from,
            without_forwarding_the_log_shows_the_proxy,
        }
        sieve {
            sieve_connect_uploads_activates_lists_and_fetches,
            a_script_is_stored_activated_listed_fetched_and_deleted,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            a_password_of_odd_characters_arrives_as_it_is,
            the_log_shows_where_a_client_connects_from,
            without_forwarding_the_log_shows_the_proxy,
        }
        submission {
            smtplib_submits_and_the_message_is_read_back,
            swaks_submits_and_the_message_is_read_back,
            a_wrong_password_is_refused_and_the_right_one_then_accepted,
            nobody_submits_without_logging_in,
            only_who_has_logged_in_sends_elsewhere,
            the_logs_show_where_a_client_connects_from,
            a_script_files_what_is_submitted,
            without_forwarding_the_log_shows_the_proxy,
        }
        delivery {
            smtplib_delivers_over_smtp_and_lmtp,
            swaks_delivers_over_smtp_and_lmtp,
            starttls_is_between_client_and_backend,
            the_proxy_may_go_to_the_backends_by_tls,
        }
    }
}

/// The same for what makes sense with the proxy alone, and further servers around it.
mod peers {
    macro_rules! checks {
        ($($module:ident { $($name:ident),* $(,)? })*) => {
            $(
                mod $module {
                    $(
                        #[test]
                        fn $name() {
                            crate::real::peers::$module::$name();
                        }
                    )*
                }
            )*
        };
    }

    checks! {
        balancer {
            a_header_of_any_version_tells_the_client,
            the_tls_of_the_balancer_counts_where_it_says_so,
            a_header_may_come_within_the_tls_of_the_balancer,
            clients_without_a_header_are_known_by_their_sockets,
            health_checks_do_no_harm,
            nginx_tells_the_client_by_a_header,
        }
        chain {
            dovecot_logs_the_client_at_the_far_end,
        }
        dovecot_before {
            the_client_of_dovecots_proxy_reaches_the_backend,
        }
        forgery {
            a_header_of_an_untrusted_client_changes_nothing,
            a_required_header_is_not_taken_from_an_untrusted_client,
            what_an_untrusted_client_forwards_changes_nothing,
            a_client_behind_a_balancer_forwards_nothing,
        }
        guard {
            a_typed_xclient_is_refused,
            replies_stay_in_order_around_a_refused_xclient,
            a_bare_line_feed_hides_no_xclient,
            a_message_that_says_xclient_arrives_unchanged,
        }
        loops {
            a_loop_by_xclient_ends,
            a_loop_by_headers_ends,
        }
        behind {
            dovecot_logs_the_client_of_a_header,
            dovecot_takes_the_clients_tls_from_a_header,
            postfix_logs_the_client_of_a_header,
            nginx_logs_the_client_of_a_header,
            haproxy_logs_the_client_of_a_header,
            haproxy_logs_what_a_header_says_besides,
        }
    }
}
