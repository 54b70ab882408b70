import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Children of the tests start whole Node processes, on machines that may be busy.
    testTimeout: 60_000,
  },
})
