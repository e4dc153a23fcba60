// Package hpke stands in for crypto/hpke, with which crypto/tls encrypts the
// names of servers (ECH) for programs that set keys or configurations for that.
// zonegate sets none, and without them nothing of the package is ever called.
// With them, every handshake fails. Key exchange against quantum computers is
// elsewhere, and stays.
package hpke

import "errors"

var errNotBuiltIn = errors.New("encrypted names of servers (ECH) are not built into zonegate for routers")

type (
	// A KEM, KDF or AEAD never comes to be.
	KEM interface {
		NewPublicKey([]byte) (PublicKey, error)
		NewPrivateKey([]byte) (PrivateKey, error)
	}
	KDF        interface{ ID() uint16 }
	AEAD       interface{ ID() uint16 }
	PublicKey  interface{ KEM() KEM }
	PrivateKey interface{ KEM() KEM }

	// Sender and Recipient have no key.
	Sender    struct{}
	Recipient struct{}
)

func NewKEM(uint16) (KEM, error)   { return nil, errNotBuiltIn }
func NewKDF(uint16) (KDF, error)   { return nil, errNotBuiltIn }
func NewAEAD(uint16) (AEAD, error) { return nil, errNotBuiltIn }

func NewSender(_ PublicKey, _ KDF, _ AEAD, info []byte) ([]byte, *Sender, error) {
	return nil, nil, errNotBuiltIn
}

func NewRecipient(enc []byte, _ PrivateKey, _ KDF, _ AEAD, info []byte) (*Recipient, error) {
	return nil, errNotBuiltIn
}

func (*Sender) Seal(aad, plaintext []byte) ([]byte, error)     { return nil, errNotBuiltIn }
func (*Recipient) Open(aad, ciphertext []byte) ([]byte, error) { return nil, errNotBuiltIn }
