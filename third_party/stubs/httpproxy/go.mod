module golang.org/x/net/http/httpproxy

go 1.26.0
