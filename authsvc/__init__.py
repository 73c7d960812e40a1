"""authsvc: sign-up, sign-in, second factors and sessions as a gRPC service on Postgres."""
