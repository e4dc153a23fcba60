// Package sandbox plays the servers of others, for tests and the lab: the
// documented RGZ billing API (part 1 of package api and nothing else), the
// payment providers FlexPay, MyPayGa and KKiaPay, the withdrawals of Nelsius,
// and an SMS gateway. They do what their documents say, quirks and all, with
// errors in the style of their kind of server, outcomes by phone number, and
// faults on demand. The state is in memory, the tokens are no secrets, and no
// money moves but the sandbox's own, of which it keeps the truth. It knows
// nothing of the hub.
package sandbox
