//! All clauses by their modules, and the macros that make a test of each.

use super::{
    Clause, calling, close, connections, environ, errors, errors_stream, exact, exc_info, exits, extensions, failures,
    file_wrapper, file_wrapper_object, framing, headers, input, input_wire, iterable, leaks, paths, refusals,
    response_headers, splitting, spoofing, standard_streams, start_response, streaming, threads, write,
};

/// Makes a table of clauses, and the macro that makes tests of them. `$d` is a dollar sign, for the inner macro.
macro_rules! suite {
    ($d:tt $(#[$about:meta])* $macro:ident, $table:ident: $($module:ident { $($clause:ident)* })*) => {
        pub(super) const $table: &[(&str, Clause)] = &[$($((stringify!($clause), $module::$clause as Clause),)*)*];

        $(#[$about])*
        #[macro_export]
        macro_rules! $macro {
            ($d host:expr) => {
                $($(
                    #[test]
                    fn $clause() {
                        $d crate::conformance::run(stringify!($clause), &$d host);
                    }
                )*)*
            };
        }
    };
}

suite! { $
    /// Makes a test of every clause for all hosts; the argument is an expression for a
    /// [`HostUnderTest`](crate::conformance::HostUnderTest), evaluated in each test.
    conformance_suite, CLAUSES:
    calling {
        application_is_called_once_with_two_positional_arguments
        any_callable_is_an_application
        application_is_called_again_and_again
        environ_is_a_new_plain_dict_for_each_request
    }
    write {
        start_response_returns_a_write_callable
        write_takes_one_bytes_object_and_nothing_else
        written_data_is_sent_before_the_iterable
        first_write_sends_the_head
        empty_write_adds_nothing_to_the_body
        write_after_the_end_of_the_request_raises
        write_beyond_content_length_raises_and_sends_no_byte_beyond_it
        an_application_that_writes_returns_an_iterable_all_the_same
    }
    iterable {
        any_iterable_is_a_result
        a_block_that_is_not_bytes_is_an_error
        empty_blocks_are_legal_anywhere_and_send_nothing
        every_byte_passes_unchanged
        length_of_the_result_is_no_length_of_the_body
        a_single_block_gets_a_content_length
        a_list_or_tuple_of_blocks_gets_a_content_length
        lists_of_many_blocks_arrive_whole_and_in_order
        no_content_length_is_made_up_where_there_is_no_body
        nothing_of_the_result_is_touched_but_iteration_and_close
        an_iterator_that_fails_at_its_first_step_is_500
        iteration_ends_beyond_content_length
        a_body_shorter_than_content_length_is_cut_off_and_logged
    }
    close {
        close_is_called_once_after_the_last_block
        close_is_called_after_an_exception_in_the_iteration
        close_is_called_where_start_response_was_not_or_wrongly_called
        close_is_called_where_no_body_is_wanted
        close_is_called_where_content_length_is_reached
        close_is_called_where_content_length_is_missed
        a_result_without_close_is_not_missed
        an_exception_in_close_is_logged_and_changes_no_response
        streams_of_the_request_are_alive_in_close
    }
    environ {
        request_method_is_as_sent_and_never_empty
        query_string_is_raw_and_always_there
        content_type_and_content_length_are_those_of_the_request
        content_length_of_a_chunked_body_is_there_exactly_if_it_was_collected
        server_name_and_port_are_never_empty
        server_protocol_is_the_client_s_version
        gateway_interface_and_request_scheme_are_there
        keys_and_cgi_values_are_exactly_str_and_latin_1
        header_bytes_above_ascii_are_their_latin_1_characters
        absent_variables_are_left_out_and_never_none
        https_is_set_by_the_operator_and_never_by_a_client
        wsgi_version_is_the_tuple_1_0
        url_scheme_is_http
        streams_have_the_methods_of_pep_3333
        flags_tell_how_this_host_runs_applications
        keys_of_the_server_are_lower_case_below_a_prefix_of_its_own
        the_operator_adds_and_overrides_variables
        variables_of_the_process_are_not_copied
    }
    headers {
        a_header_is_in_environ_exactly_if_it_was_sent
        repeated_headers_are_joined_in_order
        http_host_is_what_the_client_sent
        no_client_sets_http_proxy
        credentials_are_withheld_unless_the_operator_passes_them
        headers_of_the_connection_are_kept_but_for_two
        an_underscore_does_not_pose_as_a_dash
    }
    paths {
        an_application_at_the_root_has_an_empty_script_name
        script_name_is_the_prefix_and_path_info_the_rest
        path_info_never_begins_within_a_segment
        script_name_of_the_operator_changes_path_info
        the_path_is_decoded_once_into_latin_1
        the_prefix_is_found_in_the_decoded_path
        the_url_is_the_one_that_was_asked_for
        url_without_a_host_header_has_the_server_name
    }
    start_response {
        start_response_takes_exc_info_or_not_and_returns_write
        a_refused_call_raises_at_once
        a_refused_second_call_leaves_the_head_as_it_is
        a_second_call_without_exc_info_is_refused_when_the_head_is_out
        the_head_waits_for_a_block_that_is_not_empty
        a_block_or_a_write_commits_the_head
        the_end_sends_the_head_of_a_body_without_bytes
        changes_of_the_header_list_after_start_response_have_no_effect
        start_response_may_be_called_from_the_iterable
        a_body_before_start_response_is_an_error
        start_response_of_a_request_that_is_over_raises
    }
    refusals {
        start_response_with_another_number_of_arguments_is_refused
        keyword_arguments_other_than_exc_info_are_refused
        a_status_that_is_no_str_is_refused
        a_status_without_three_digits_and_a_space_is_refused
        a_status_with_a_control_character_is_refused
        headers_that_are_no_list_are_refused
        a_header_that_is_no_pair_of_str_is_refused
        a_header_name_that_is_no_token_is_refused
        a_header_value_with_a_control_character_is_refused
        characters_above_latin_1_are_refused
        hop_by_hop_headers_are_refused_where_the_operator_is_strict
        a_header_called_status_is_refused_where_the_operator_is_strict
        a_content_length_that_is_no_number_is_refused
        invalid_exc_info_is_refused
        a_second_call_without_exc_info_is_refused
    }
    exc_info {
        exc_info_replaces_a_head_that_is_not_out
        exc_info_replaces_the_head_again_and_again
        exc_info_may_be_given_by_name
        exc_info_is_allowed_with_the_first_call
        exc_info_that_was_used_is_not_logged
        exc_info_is_raised_again_once_the_head_is_out
        exception_raised_again_by_exc_info_cuts_the_response_and_is_logged_once
        exc_info_is_not_kept
        nothing_of_a_head_that_was_not_sent_is_in_an_error_page
    }
    response_headers {
        the_status_arrives_with_its_own_reason
        a_missing_reason_is_tolerated
        characters_of_latin_1_are_sent_as_one_byte_each
        values_of_headers_arrive_as_given
        repeated_headers_stay_separate_and_in_order
        a_hundred_headers_arrive_in_order
        content_type_is_the_application_s_or_none
        a_relative_location_is_left_as_it_is
        names_of_response_headers_are_compared_without_case
        equal_content_lengths_become_one
        date_and_server_of_the_application_win
        headers_of_the_connection_and_status_are_left_out_with_one_warning_each
        a_header_that_is_left_out_changes_no_framing
        headers_do_not_depend_on_method_or_version
    }
    extensions {
        a_middleware_sees_every_block_and_every_header
        the_validator_of_the_standard_library_has_no_complaint
        ranges_are_left_to_the_application
        a_range_that_the_application_answers_passes_as_it_is
    }
    input {
        body_of_known_length_reads_as_a_file_does
        chunked_body_reads_as_a_file_does
        body_that_is_complete_can_be_read_again_as_a_file_can
        read_gives_so_many_bytes_and_without_an_argument_the_rest
        readline_splits_a_line_that_is_longer_than_its_size
        readlines_gives_whole_lines_until_its_hint_is_reached
        iteration_gives_the_lines_of_readlines
        last_line_without_a_newline_is_whole
        all_ways_to_read_share_one_position
        all_read_methods_return_bytes
        invalid_read_size_is_refused_as_by_a_file
        input_without_a_body_is_at_its_end_at_once
        application_reads_a_chunked_body_decoded
        wsgi_input_terminated_is_set
        closing_the_input_breaks_nothing
        input_can_be_read_while_the_response_is_produced
        input_expires_with_its_request
    }
    errors_stream {
        errors_stream_has_write_writelines_and_flush
        errors_stream_serves_print_logging_and_traceback
        errors_stream_takes_any_text
        errors_stream_is_for_text_alone
        newline_ends_a_record_and_nothing_else_does
        line_without_its_end_is_logged_by_flush
        line_without_its_end_is_logged_at_the_end_of_the_request
        percent_sequences_are_logged_as_they_are
        percent_sequences_of_an_exception_are_logged_as_they_are
        control_characters_are_escaped_in_the_log
        long_line_is_logged_without_a_loss
        printed_lines_are_logged
        errors_stream_is_open_until_close_has_returned
        errors_stream_takes_lines_from_any_thread
        errors_stream_expires_with_its_request
        standard_streams_outlive_every_request
    }
    standard_streams {
        standard_streams_are_text_streams_of_python
        standard_input_is_an_empty_text_stream
        bytes_written_to_a_standard_stream_are_logged
        streams_around_the_bytes_of_a_standard_stream_leave_it_open
        standard_streams_serve_subprocess_and_redirection
        errors_stream_has_the_attributes_of_a_text_stream
        bytes_of_the_errors_stream_expire_with_its_request
        an_application_cannot_disable_reports_of_crashes
    }
    file_wrapper {
        file_wrapper_sends_any_kind_of_file
        file_wrapper_sends_what_read_gives
        file_wrapper_of_a_text_file_is_an_error
        file_wrapper_begins_at_the_position_of_its_file
        file_wrapper_ends_quietly_at_content_length
        file_that_is_shorter_than_content_length_is_cut
        error_of_a_file_in_a_wrapper_cuts_the_response
        file_follows_what_was_written
    }
    file_wrapper_object {
        file_wrapper_takes_a_file_and_perhaps_a_block_size
        file_wrapper_has_close_if_its_file_has
        file_is_closed_once_however_the_response_ends
        file_wrapper_that_is_not_returned_does_nothing
        file_wrapper_is_an_iterable_for_middleware
        file_wrapper_of_an_earlier_request_can_be_returned
    }
    errors {
        exception_in_the_call_is_a_500
        exception_after_start_response_is_a_500_without_its_headers
        exception_before_the_first_block_is_a_500_without_its_headers
        exception_after_a_block_cuts_the_response
        exception_after_write_cuts_the_response
        exception_in_close_leaves_the_response_whole
        exception_in_close_after_another_one_is_logged_too
        exception_is_logged_with_its_causes
    }
    failures {
        result_that_is_no_iterable_of_blocks_is_a_500
        result_that_is_str_bytes_or_none_is_logged_with_the_rule
        result_that_cannot_be_iterated_is_closed_still
        script_that_cannot_be_loaded_is_a_500_and_logged
        script_that_could_not_be_loaded_is_tried_again
    }
}

suite! { $
    /// Makes a test of every clause about framing and connections, for hosts that have
    /// [addresses](crate::conformance::Served::address); the argument is as for
    /// [`conformance_suite!`](crate::conformance_suite).
    wire_conformance_suite, WIRE_CLAUSES:
    threads {
        wsgi_multithread_is_true_if_requests_run_concurrently
        empty_items_of_an_iterator_in_c_let_other_requests_run
    }
    framing {
        unknown_length_is_chunked_in_http_1_1
        unknown_length_ends_with_the_connection_in_http_1_0
        known_length_keeps_the_connection
        known_length_keeps_a_connection_of_http_1_0_that_asks_for_it
        a_client_that_asks_for_the_end_of_the_connection_gets_it
        a_response_that_fails_half_way_does_not_look_complete
        head_204_and_304_carry_no_byte_of_a_body
        a_205_has_an_empty_body
        blocks_that_look_like_chunks_are_data
        empty_blocks_do_not_end_a_chunked_body
    }
    connections {
        input_ends_where_the_next_request_begins
        pipelined_requests_are_answered_in_order
        an_unread_body_is_never_taken_for_a_request
        a_small_unread_body_leaves_the_connection_usable
        expect_100_continue_is_answered_for_the_application
        an_application_that_reads_nothing_answers_in_spite_of_expect
        http_1_0_gets_no_100_continue
        date_and_server_stand_in_the_head_once
    }
    exact {
        framing_is_exact_for_any_response_of_an_application
    }
    exits {
        no_response_leaves_request_body_bytes_on_the_connection
    }
    splitting {
        no_control_character_of_an_application_leaves_in_a_head
    }
    spoofing {
        no_header_poses_as_another_variable
    }
    leaks {
        no_error_reveals_details_of_the_server
    }
    streaming {
        each_block_has_left_before_the_next_is_asked_for
        written_data_is_sent_while_the_application_runs
        head_waits_for_the_first_block
        application_is_not_iterated_while_the_client_does_not_read
        close_is_called_when_the_client_leaves
    }
    environ {
        content_length_of_an_empty_body_is_there_if_the_client_sent_it
        remote_addr_and_port_are_the_client_s
    }
    headers {
        nothing_of_one_request_is_seen_by_the_next_on_a_connection
        names_of_headers_are_not_case_sensitive
        repeated_headers_are_joined_across_other_headers
        a_host_in_the_target_is_the_only_one
        white_space_around_a_value_is_no_part_of_it
    }
    paths {
        the_url_is_that_of_the_connection_and_escaped_as_sent
    }
    input_wire {
        input_does_not_reach_into_the_next_request
        chunked_body_of_no_bytes_is_at_its_end_at_once
        chunked_body_is_decoded_wherever_it_is_cut
        disconnect_within_the_body_is_not_the_end_of_the_body
        slow_uploads_hold_up_no_other_request
    }
    errors_stream {
        flushed_lines_are_logged_at_once
    }
    failures {
        failed_response_has_one_head
        write_to_a_client_that_has_left_is_an_oserror
    }
}
