package link

import (
	"crypto/aes"
	"crypto/cipher"

	"cairn/fsm"
)

// sealV1 is the first byte of a sealed value:
//
//	0   1    version, 1
//	1   12   random nonce
//	13  …    AES-256-GCM ciphertext
//	end 16   tag
const sealV1 = 1

// Seal encrypts plaintext with the cluster's key. The additional data is not
// stored: Unseal must be given the same, so a value that was sealed for one
// purpose does not open as another. One key seals at most 2^32 values (random
// nonces of 96 bits); a cluster seals a handful.
func Seal(key [32]byte, plaintext, aad []byte) []byte {
	return newGCM(key).Seal([]byte{sealV1}, nil, plaintext, aad)
}

// Unseal is the inverse of Seal. It fails with Forbidden when key, additional
// data or a single bit of the sealed value differ, and with Invalid when the
// value is of a version that this code does not know.
func Unseal(key [32]byte, sealed, aad []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealV1 {
		return nil, fsm.Errorf(fsm.Invalid, "the sealed value is empty or of an unknown version: upgrade this node")
	}
	plaintext, err := newGCM(key).Open(nil, nil, sealed[1:], aad)
	if err != nil {
		return nil, fsm.Errorf(fsm.Forbidden, "the sealed value does not open: it is damaged, or sealed with another cluster's key")
	}
	return plaintext, nil
}

// newGCM cannot fail: the key's length is its type's.
func newGCM(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return gcm
}
