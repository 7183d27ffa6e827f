//! What goes wrong, what happens then, and the test that shows it.
//!
//! In each of these: no valid token is refused that should be accepted, none is accepted that should be refused, a
//! request sees one generation, calls of the store are bounded and so is memory, and the refresh loop lives on. Where
//! a line promises less, it says so.
//!
//! | fault | what happens | shown by |
//! |---|---|---|
//! | the store is stopped | what is in use stays; tries back off to the interval; recovery by itself | `tests/refresh.rs::failures_back_off_and_never_further_than_the_interval`, `tests/vault/faults.rs::a_server_that_is_stopped_restarted_and_sealed_costs_no_call`, `tests/aws/faults.rs::refused_connections` |
//! | it hangs | a fetch ends after `fetch_limit`; no request waits for it | `tests/refresh.rs::a_hung_source_times_out_and_the_loop_goes_on`, `tests/vault/faults.rs::a_server_that_hangs_is_given_up_in_time`, `tests/jwks/chaos.rs::a_key_server_that_hangs_or_is_gone` |
//! | it answers after 30 s | the same; an answer within the limit is used, and nobody waited for it | `tests/aws/faults.rs::answers_after_half_a_minute`, `tests/aws/faults.rs::a_slow_store_keeps_nobody_waiting` |
//! | it throttles | its `Retry-After`, or the back-off, is kept; one call at a time | `tests/aws/faults.rs::throttling_with_429`, `tests/aws/microburst.rs::throttling_resets_latency_and_an_expired_token`, `tests/answers.rs::the_loop_leaves_a_store_alone_for_as_long_as_it_asks_and_no_longer_than_the_interval`, `tests/jwks/chaos.rs::faults_of_the_key_server` |
//! | a body is cut in the middle | an error of that fetch | `tests/aws/faults.rs::values_that_are_cut_off`, `tests/jwks/chaos.rs::faults_of_the_key_server` |
//! | it answers garbage, or a page with status 200 | the same; the error names what was expected and shows nothing of the answer | `tests/jwks/chaos.rs::faults_of_the_key_server`, `tests/file_keyring.rs::every_malformed_file_keeps_the_snapshot_and_names_file_field_and_step` |
//! | a field has the wrong type, or is missing | refused at the step `parse`, with the field's path | `tests/file_keyring.rs::every_malformed_file_keeps_the_snapshot_and_names_file_field_and_step`, `src/refresh/parse.rs::errors_name_the_field_and_the_reason` |
//! | the secret is truncated | refused before the swap | `tests/file_keyring.rs::every_malformed_file_keeps_the_snapshot_and_names_file_field_and_step` |
//! | an older version is answered | not swapped in where the store dates its answers (AWS); a label moved back is the truth | `tests/aws/stale.rs::an_earlier_answer_is_unchanged_and_never_swapped_in` |
//! | two rotations within one poll | at most two keys overlap: the oldest ends, and that is told | `tests/windows.rs::two_rotations_within_one_poll_trust_the_key_between`, `tests/windows.rs::two_rotations_inside_one_window_end_the_oldest_key_and_say_so` |
//! | a label is moved to and fro | each flip is a generation, and neither key is refused; no login for each of them | `tests/windows.rs::a_label_moved_to_and_fro_refuses_neither_key_and_lengthens_no_window`, `tests/regressions.rs::a_store_that_answers_in_turn_does_not_cause_a_login_at_each_poll`, `tests/aws/ministack.rs::a_rotation_in_four_steps_and_a_rollback` |
//! | previous is removed | it is refused from the next refresh on, also where the new current is refused | `tests/aws/stages.rs::a_label_that_is_removed_takes_previous_out_at_the_next_refresh`, `tests/refresh.rs::a_withdrawal_does_not_wait_for_a_good_current` |
//! | the clock steps back | no window becomes longer | `tests/windows.rs::a_wall_clock_that_steps_back_lengthens_no_window` |
//! | the clock steps forward | a window may end early; current stays good | `tests/windows.rs::a_wall_clock_that_steps_forward_and_back_costs_current_nothing` |
//! | a machine sleeps through a window | the window is over | `tests/windows.rs::a_machine_that_slept_through_a_window_does_not_trust_the_old_key` |
//! | a probe hangs | it ends after `probe_limit`; the version is refused | `tests/faults.rs::a_probe_that_hangs_keeps_nobody_waiting_and_the_next_version_comes`, `src/refresh/probe.rs::probes_run_at_the_same_time_and_each_within_its_limit` |
//! | a probe, a source or a hook panics | the version is refused, the loop lives | `tests/refresh.rs::panics_of_user_code_leave_the_loop_alive` |
//! | a bundle panics when it is dropped, an error when it is shown | the loop lives | `tests/regressions.rs::a_panic_in_the_drop_of_a_bundle_leaves_the_loop_alive`, `tests/regressions.rs::a_panic_in_the_display_of_an_error_leaves_the_loop_alive` |
//! | a probe fails once in two | what is in use stays in between | `tests/faults.rs::a_probe_that_fails_every_other_time_refuses_no_token` |
//! | a version is refused for good | three tries in ten minutes at most, or when asked | `tests/refresh.rs::a_refused_version_is_tried_again_after_growing_pauses_or_when_asked`, `src/refresh/trigger.rs::a_refused_version_is_tried_at_most_three_times_in_ten_minutes` |
//! | it is corrected by one more on top, and the store names the refused one as previous | tokens of the key before both are refused; move back first, and none is | `tests/faults.rs::a_correction_on_top_of_a_refused_version_ends_the_key_before_both`, `tests/faults.rs::a_probe_that_hangs_keeps_nobody_waiting_and_the_next_version_comes` |
//! | 1,000 SIGHUPs | two fetches at most | `tests/sighup.rs::bursts_cost_at_most_two_fetches_and_an_early_signal_counts_as_one` |
//! | a SIGHUP before the handler stands | the handler stands before the first fetch, and one that comes in it counts; before `build` is polled, it ends the process as it does any other | `tests/sighup.rs::bursts_cost_at_most_two_fetches_and_an_early_signal_counts_as_one` |
//! | 1,000 calls of `refresh` | two fetches at most | `tests/faults.rs::a_thousand_calls_of_refresh_cost_two_fetches`, `tests/refresh.rs::callers_during_a_fetch_share_the_next_one` |
//! | a process starts in the middle of a rotation | its windows count from what the store knows; its signer waits like the others | `tests/windows.rs::a_restart_counts_the_window_from_what_the_store_knows`, `tests/signer.rs::a_process_started_in_the_middle_of_a_rotation_waits_like_the_others`, `tests/aws/windows.rs::a_restart_inside_and_after_the_window` |
//! | who waits for a refresh gives up | the refresh goes on for the others | `tests/refresh.rs::a_dropped_refresh_goes_on`, `tests/unknown_key.rs::who_gives_up_leaves_its_place_and_the_refresh`, `tests/try_each.rs::a_caller_who_gives_up_ends_no_refresh_for_the_others` |
//! | the runtime ends in the middle of a refresh | what is in use can be read on; `refresh` says that the loop has stopped | `tests/faults.rs::a_runtime_that_ends_in_the_middle_of_a_refresh_takes_nothing_along` |
//! | a shutdown while a refresh hangs and requests wait for it | they are told; no task is left | `tests/faults.rs::a_shutdown_leaves_no_task`, `tests/refresh.rs::shutdown_waits_for_the_loop_and_later_refreshes_say_stopped`, `tests/unknown_key.rs::after_a_shutdown_nobody_waits` |
//! | the last keyring is dropped while a request runs | the request ends with what it holds; the loop ends | `tests/faults.rs::a_request_goes_on_when_the_last_keyring_is_gone`, `tests/refresh.rs::the_last_handle_ends_the_loop_and_secrets_do_not_keep_it` |
//! | 100,000 requests hold 50 generations | each sees its own; all is let go when they end | `tests/faults.rs::a_hundred_thousand_requests_hold_fifty_generations` |
//! | a flood of tokens with unknown keys | one refresh in each cool-down; a bounded number wait, for a bounded time | `tests/unknown_key.rs::a_store_that_hangs_costs_the_waiters_a_bounded_time_and_others_nothing`, `tests/unknown_key.rs::after_failures_tokens_ask_less_and_less_until_a_refresh_succeeds` |
//! | a new password that an upstream refuses everywhere | nobody is locked out: logins are bounded | `tests/lock_out.rs::a_bad_new_password_locks_no_account_and_breaks_no_service` |
//! | the file watch fails | told once; the timer goes on | `tests/faults.rs::where_nothing_can_be_watched_the_timer_finds_a_rotation`, `src/source/file/tests/watch.rs::a_watch_that_fails_is_told_once` |
//! | the watched directory is deleted and made again | it is watched again | `src/source/file/tests/watch.rs::a_directory_made_again_is_watched_again`, `src/source/file/tests/watch.rs::a_directory_moved_away_and_back_is_watched_again` |
//! | a volume that cannot be looked at | nothing is withdrawn | `tests/regressions.rs::a_directory_that_cannot_be_looked_at_withdraws_nothing` |
//! | the disk is full while logs are written | rotations go on, also where the subscriber panics for it; what the log lost is lost | `tests/faults.rs::a_full_disk_under_the_log_stops_no_rotation` |
//! | DNS is gone | an outage like any other | `tests/faults.rs::a_name_without_an_address_is_an_outage_like_any_other` |
//! | an identity is taken away, or expires | own kinds of errors; recovery by itself | `tests/aws_identity.rs::pods_start_while_their_token_is_replaced`, `tests/aws/identity.rs::a_revoked_role_recovers_without_a_restart`, `tests/vault/faults.rs::a_permission_or_a_token_taken_away_costs_no_call` |
