"""`npm run test:kills`: gateways and workers killed at random moments lose no job, and run none twice."""
