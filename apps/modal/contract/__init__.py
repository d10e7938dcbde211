"""`npm run test:contract`: the gateway against the published contract and the official SDKs."""
