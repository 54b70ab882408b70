import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: {
    alias: [
      { find: './load-storage.ts', replacement: `${import.meta.dirname}/test/support/load-storage.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/global-setup.ts',
    // Tests wait for children more than they work: one less than the processors would leave half of two idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Children of the tests start whole Node processes, on machines that may be busy.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['default', ['json', { outputFile: '.cache/test-results.json' }]],
  },
})
