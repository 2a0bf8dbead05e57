/*
 * A filter as third parties write them: it answers in place of the handler, with the status that a request header names.
 *
 *     X-Head-Status: 418      when the handler sends its head
 *     X-Body-Status: 418      when the handler sends its first block; the head is held back until then
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

static ngx_http_output_header_filter_pt  next_header_filter;
static ngx_http_output_body_filter_pt    next_body_filter;


/* The status that a header of the client asks for, until the filter has answered; else 0. */
static ngx_int_t
wanted(ngx_http_request_t *r, const char *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    if (r != r->main || r->filter_finalize) {
        return 0;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (header[i].key.len == ngx_strlen(name)
                && ngx_strncasecmp(header[i].key.data, (u_char *) name, header[i].key.len) == 0)
            {
                return ngx_atoi(header[i].value.data, header[i].value.len);
            }
        }
    }

    return 0;
}


static ngx_int_t
header_filter(ngx_http_request_t *r)
{
    ngx_int_t  status;

    status = wanted(r, "X-Head-Status");

    if (status) {
        return ngx_http_filter_finalize_request(r, NULL, status);
    }

    return wanted(r, "X-Body-Status") ? NGX_OK : next_header_filter(r);
}


static ngx_int_t
body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t  status;

    status = wanted(r, "X-Body-Status");

    if (status && in) {
        return ngx_http_filter_finalize_request(r, NULL, status);
    }

    return next_body_filter(r, in);
}


static ngx_int_t
install(ngx_conf_t *cf)
{
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;

    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;

    return NGX_OK;
}


static ngx_http_module_t  context = { NULL, install, NULL, NULL, NULL, NULL, NULL, NULL };

ngx_module_t  answering_filter_module = {
    NGX_MODULE_V1, &context, NULL, NGX_HTTP_MODULE, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};

ngx_module_t  *ngx_modules[] = { &answering_filter_module, NULL };
char          *ngx_module_names[] = { "answering_filter_module", NULL };
char          *ngx_module_order[] = { "answering_filter_module", "ngx_http_copy_filter_module", NULL };
