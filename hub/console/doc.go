// Package console is the hub in a browser: pages for admins, resellers and
// sellers, rendered here and working without scripts, on a phone as well. A
// page shows what hub.Hub says and asks it for what a form asks; who may do
// what is decided there, and pages only hide what would be refused.
//
// Nothing changes on a GET. Every form carries a token bound to the session.
// Codes are shown in the answer to the form that made them, and are in no
// address, log or cookie.
//
// Every text stands where it is used, in French and in English. After a change
// of a .templ file, run `make generate`.
package console
