//! All items of nginx that the module uses, and no others: the bindings contain these items, and of each structure
//! these fields are visible to the rest of the crate. The C compiler reports the offset of each field (see
//! `layout.rs`).

/// A structure, by its name in nginx.
pub(crate) struct Structure {
    pub(crate) name: &'static str,
    fields: &'static str,
    bits: &'static str,
}

impl Structure {
    /// Returns the fields that have an address.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.fields.split_whitespace()
    }

    /// Returns the bit-fields.
    pub(crate) fn bits(&self) -> impl Iterator<Item = &'static str> {
        self.bits.split_whitespace()
    }
}

const fn structure(name: &'static str, fields: &'static str, bits: &'static str) -> Structure {
    Structure { name, fields, bits }
}

pub(crate) const STRUCTURES: &[Structure] = &[
    structure("ngx_array_t", "elts nalloc nelts pool size", ""),
    structure(
        "ngx_buf_t",
        "end file file_last file_pos last pos start",
        "flush in_file last_buf last_in_chain memory sync",
    ),
    structure("ngx_chain_t", "buf next", ""),
    structure("ngx_command_t", "conf name offset post set type", ""),
    structure("ngx_conf_file_t", "file line", ""),
    structure("ngx_conf_t", "args cmd_type conf_file ctx cycle pool", ""),
    structure(
        "ngx_connection_t",
        "addr_text data fd listening local_sockaddr local_socklen log number pool read requests sent sockaddr write",
        "buffered error tcp_nodelay timedout",
    ),
    structure("ngx_core_conf_t", "master worker_processes", ""),
    structure(
        "ngx_cycle_t",
        "conf_ctx connection_n connections free_connection_n listening log open_files pool prefix",
        "",
    ),
    structure("ngx_event_actions_t", "add del", ""),
    structure("ngx_event_conf_t", "accept_mutex", ""),
    structure(
        "ngx_event_t",
        "available data handler log queue timer",
        "active cancelable channel delayed pending_eof posted ready timedout timer_set",
    ),
    structure("ngx_file_t", "fd log name", "directio"),
    structure("ngx_hash_key_t", "key", ""),
    structure("ngx_hash_keys_arrays_t", "keys", ""),
    structure("ngx_http_cleanup_t", "data handler", ""),
    structure("ngx_http_compile_complex_value_t", "cf complex_value value", ""),
    structure("ngx_http_complex_value_t", "", ""),
    structure("ngx_http_conf_addr_t", "opt servers", ""),
    structure("ngx_http_conf_ctx_t", "loc_conf main_conf srv_conf", ""),
    structure("ngx_http_conf_port_t", "addrs", ""),
    structure(
        "ngx_http_core_loc_conf_t",
        "client_body_buffer_size directio handler keepalive_requests name root root_lengths send_lowat send_timeout",
        "auto_redirect exact_match lmt_excpt named noname",
    ),
    structure("ngx_http_core_main_conf_t", "phases ports prefix_variables variables_keys", ""),
    structure("ngx_http_core_srv_conf_t", "server_name", ""),
    structure(
        "ngx_http_headers_in_t",
        "content_length content_length_n headers host if_match if_modified_since if_none_match if_unmodified_since \
         server",
        "chunked",
    ),
    structure(
        "ngx_http_headers_out_t",
        "accept_ranges cache_control charset content_encoding content_length_n content_range content_type \
         content_type_len content_type_lowcase date etag expires headers last_modified last_modified_time \
         override_charset server status status_line www_authenticate",
        "",
    ),
    structure("ngx_http_listen_opt_t", "sockaddr socklen", ""),
    structure("ngx_http_log_ctx_t", "current_request", ""),
    structure(
        "ngx_http_module_t",
        "create_loc_conf create_main_conf create_srv_conf init_main_conf merge_loc_conf merge_srv_conf \
         postconfiguration preconfiguration",
        "",
    ),
    structure("ngx_http_phase_t", "handlers", ""),
    structure("ngx_http_request_body_t", "buf bufs", ""),
    structure(
        "ngx_http_request_t",
        "args connection ctx err_status header_in headers_in headers_out host_end host_start http_protocol http_version limit_rate loc_conf \
         main method method_name pool postponed read_event_handler request_body request_line srv_conf unparsed_uri uri write_event_handler",
        "allow_ranges buffered chunked count disable_not_modified header_only header_sent internal keepalive limit_rate_set \
         post_action single_range \
         uri_changes",
    ),
    structure("ngx_http_variable_t", "name", ""),
    structure("ngx_list_part_t", "elts nelts next", ""),
    structure("ngx_list_t", "part", ""),
    structure("ngx_listening_t", "addr_text connection fd handler sockaddr socklen type", "reuseport wildcard"),
    structure("ngx_log_t", "data file log_level next writer", ""),
    structure(
        "ngx_module_t",
        "commands ctx ctx_index exit_process index init_module init_process signature type version",
        "",
    ),
    structure("ngx_open_file_t", "fd flush", ""),
    structure("ngx_path_t", "conf_file len level line name", ""),
    structure("ngx_pool_cleanup_t", "data handler", ""),
    structure("ngx_pool_large_t", "alloc next", ""),
    structure("ngx_pool_t", "chain large", ""),
    structure("ngx_queue_t", "next prev", ""),
    structure("ngx_rbtree_node_t", "key", ""),
    structure("ngx_str_t", "data len", ""),
    structure("ngx_table_elt_t", "hash key value", ""),
    structure("ngx_variable_value_t", "data", "len not_found valid"),
];

/// Fields that some builds of nginx lack, each with the preprocessor condition under which it exists.
pub(crate) const CONDITIONAL: &[(&str, &str, &str)] = &[
    ("ngx_connection_t", "ssl", "NGX_SSL || NGX_COMPAT"),
    ("ngx_http_core_loc_conf_t", "regex", "NGX_PCRE"),
    ("ngx_table_elt_t", "next", "nginx_version >= 1023000"),
];

/// Types without visible fields, and function pointers.
pub(crate) const TYPES: &[&str] = &["ngx_http_client_body_handler_pt", "ngx_int_t", "ngx_uint_t", "socklen_t"];

pub(crate) const FUNCTIONS: &[&str] = &[
    "ngx_add_path",
    "ngx_alloc_chain_link",
    "ngx_array_push",
    "ngx_conf_log_error",
    "ngx_connection_local_sockaddr",
    "ngx_event_accept",
    "ngx_free_connection",
    "ngx_get_connection",
    "ngx_handle_write_event",
    "ngx_hash_key",
    "ngx_http_cleanup_add",
    "ngx_http_compile_complex_value",
    "ngx_http_complex_value",
    "ngx_http_finalize_request",
    "ngx_http_get_variable",
    "ngx_http_init_connection",
    "ngx_http_internal_redirect",
    "ngx_http_named_location",
    "ngx_http_output_filter",
    "ngx_http_parse_unsafe_uri",
    "ngx_http_post_request",
    "ngx_http_read_client_request_body",
    "ngx_http_run_posted_requests",
    "ngx_http_send_header",
    "ngx_http_test_reading",
    "ngx_inet_get_port",
    "ngx_list_push",
    "ngx_log_error_core",
    "ngx_log_stderr",
    "ngx_palloc",
    "ngx_parse_http_time",
    "ngx_pcalloc",
    "ngx_pnalloc",
    "ngx_pool_cleanup_add",
    "ngx_rbtree_delete",
    "ngx_rbtree_insert",
    "ngx_sock_ntop",
];

pub(crate) const VARIABLES: &[&str] = &[
    "ngx_core_module",
    "ngx_current_msec",
    "ngx_cycle",
    "ngx_event_actions",
    "ngx_event_core_module",
    "ngx_event_flags",
    "ngx_event_timer_rbtree",
    "ngx_events_module",
    "ngx_exiting",
    "ngx_http_core_module",
    "ngx_http_module",
    "ngx_pagesize",
    "ngx_posted_events",
    "ngx_posted_next_events",
    "ngx_process",
    "ngx_quiet_mode",
    "ngx_terminate",
    "ngx_test_config",
    "ngx_use_exclusive_accept",
    "ngx_worker",
];

/// Macros that become constants of type `ngx_int_t`.
pub(crate) const CODES: &[&str] = &[
    "NGX_DECLINED",
    "NGX_DONE",
    "NGX_ERROR",
    "NGX_HTTP_CLIENT_CLOSED_REQUEST",
    "NGX_HTTP_REQUEST_TIME_OUT",
    "NGX_HTTP_SPECIAL_RESPONSE",
    "NGX_OK",
    "NGX_READ_EVENT",
];

/// Macros that become constants of type `ngx_uint_t`.
pub(crate) const NUMBERS: &[&str] = &[
    "NGX_CLEAR_EVENT",
    "NGX_DISABLE_EVENT",
    "NGX_EXCLUSIVE_EVENT",
    "NGX_HTTP_GET",
    "NGX_HTTP_HEAD",
    "NGX_HTTP_LIF_CONF",
    "NGX_HTTP_LMT_CONF",
    "NGX_HTTP_LOC_CONF",
    "NGX_HTTP_LOC_CONF_OFFSET",
    "NGX_HTTP_LOG_UNSAFE",
    "NGX_HTTP_MAIN_CONF",
    "NGX_HTTP_MODULE",
    "NGX_HTTP_SRV_CONF",
    "NGX_LEVEL_EVENT",
    "NGX_LOG_ALERT",
    "NGX_LOG_CRIT",
    "NGX_LOG_DEBUG",
    "NGX_LOG_DEBUG_HTTP",
    "NGX_LOG_EMERG",
    "NGX_LOG_ERR",
    "NGX_LOG_INFO",
    "NGX_LOG_NOTICE",
    "NGX_LOG_WARN",
    "NGX_PROCESS_SIGNALLER",
    "NGX_PROCESS_SINGLE",
    "NGX_PROCESS_WORKER",
    "NGX_TIMER_LAZY_DELAY",
    "NGX_USE_CLEAR_EVENT",
    "NGX_USE_EPOLL_EVENT",
    "nginx_version",
];

/// Macros that become C strings.
pub(crate) const STRINGS: &[&str] = &["NGINX_VER", "NGX_HTTP_CLIENT_TEMP_PATH", "NGX_MODULE_SIGNATURE"];

/// Values of `ngx_feature`, each with its preprocessor condition.
pub(crate) const FEATURES: [(&str, &str); 4] =
    [("debug", "NGX_DEBUG"), ("http_v2", "NGX_HTTP_V2"), ("pcre", "NGX_PCRE"), ("ssl", "NGX_SSL || NGX_COMPAT")];
