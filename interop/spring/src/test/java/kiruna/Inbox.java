// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** What a listener was given, in order, under the listener's name. */
final class Inbox {
    private static final Map<String, Inbox> ALL = new ConcurrentHashMap<>();
    private final List<Object> things = new ArrayList<>();

    static Inbox of(String listener) {
        return ALL.computeIfAbsent(listener, name -> new Inbox());
    }

    synchronized void add(Object thing) {
        things.add(thing);
    }

    synchronized List<Object> all() {
        return new ArrayList<>(things);
    }

    <T> List<T> all(Class<T> type) {
        return all().stream().map(type::cast).collect(Collectors.toList());
    }

    /** Waits until at least so many came. */
    Inbox await(int count) {
        await(() -> count + " things, not " + all(), () -> all().size() >= count);
        return this;
    }

    /** Waits until each of these came. */
    void await(Collection<?> wanted) {
        await(() -> wanted + ", not " + all(), () -> all().containsAll(wanted));
    }

    static void await(Supplier<String> what, BooleanSupplier done) {
        long end = System.nanoTime() + Duration.ofSeconds(120).toNanos();
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited 120 s for " + what.get());
            }
            pause(20);
        }
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
