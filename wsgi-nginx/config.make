# Read by nginx's own ./configure when it has written its Makefile: the rule for the module's static library.
# It names its sources, so that `make install`, often another user's, need not run cargo again. Of nginx's headers it names
# those that nginx's own objects depend on: a module with other structures than nginx has is loaded and crashes.

wsgi_sources=`find "$wsgi_root/wsgi-core" "$wsgi_root/wsgi-nginx" -type f \
    \( -path '*/src/*' -o -path '*/build/*' -o -name build.rs -o -name Cargo.toml \)`
wsgi_sources=`echo $wsgi_root/Cargo.toml $wsgi_root/Cargo.lock $wsgi_sources`

cat << END                                                    >> $NGX_MAKEFILE

$wsgi_linked:	$wsgi_library

$wsgi_library:	$wsgi_sources $NGX_MAKEFILE $NGX_AUTO_CONFIG_H $NGX_AUTO_HEADERS_H \\
		\$(CORE_DEPS) \$(HTTP_DEPS)
	cd $wsgi_root && MAKEFLAGS= MFLAGS= PYO3_PYTHON=$wsgi_python \\
		NGINX_SOURCE_DIR=`pwd` NGINX_BUILD_DIR=$wsgi_objs \\
		$wsgi_cargo rustc --release --package wsgi-nginx --lib --crate-type staticlib \\
		--features static-module --target-dir $wsgi_objs/wsgi-nginx
	cp $wsgi_objs/wsgi-nginx/release/libngx_http_wsgi_module.a $wsgi_library

END
