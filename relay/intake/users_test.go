package intake

// Stored forms of "geheim", made by `postern passwd`.
const (
	testArgon  = "$argon2id$v=19$m=19456,t=2,p=1$vhEgruDrIGRE0kN2KvDs/Q$9Sa2ff4BHXOo53QdN0xGxfzdiHbO7plMx/lbg/75900"
	testBcrypt = "$2a$04$J1JTzIecEhqwpj1OrMR6eOk4q0rLv16./SbJ/if6OcoGsrtajWsfK"
	testSCRAM  = "SCRAM-SHA-256$60000:79ogc/aEcgrBAfwoyAAD3g==$qrx4SClDMB39omSNK0AoaO1Sl90RDh1H9CwSB3t6jUA=:8SjLVZl1NUaZv4t7UCLlrH1DjqJwr62wmpjGdcPJl2M="
)
