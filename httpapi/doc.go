// Package httpapi serves the cluster over HTTP: [New] makes the handler of every
// route, [Server] an http.Server around it whose timeouts suit them.
//
// One table, in routes.go, is the whole API. A row names method, path, who may
// use it, the bodies, and the handler; the router, the enforcement of roles, the
// labels of the metrics and the served OpenAPI document are all made from it.
//
//	request ─ serve ─ admit ─ authorize ─ handler ─ Cluster
//	            │                            │
//	            └── respond, or writeError ──┘
//
// serve measures, logs, catches panics and sets the deadline; authorize decides
// by the row and the token alone; a handler reads the body, asks the Cluster and
// returns an error or writes its answer. writeError is the only place where an
// error becomes a response.
//
// Streams (submissions:batch, teams:batch) are answered while they are read:
// see stream.go.
package httpapi
